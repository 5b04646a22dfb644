"""Figures that a run leaves."""
