"""Datasets: one file for each, and what they have in common."""
