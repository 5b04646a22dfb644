"""Recommendation with a memory of each user."""
