"""Forecasting with a memory of past patterns."""
