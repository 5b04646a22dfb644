"""Recommendations for users who come, click and go, one file per task."""
