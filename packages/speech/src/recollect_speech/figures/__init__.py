"""Figures of recordings; one file per task."""
