"""Datasets, one file each, and the data modules they share."""
