"""Metrics that torchmetrics lacks, one file per task."""
