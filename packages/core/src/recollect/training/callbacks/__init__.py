"""Callbacks: memory figures and pictures, results, predictions, interruption."""
