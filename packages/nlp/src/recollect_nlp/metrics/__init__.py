"""Metrics, one file per task."""
