"""Figures, one file per task."""
