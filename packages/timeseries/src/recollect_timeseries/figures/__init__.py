"""Figures that a run leaves, one file per task."""
