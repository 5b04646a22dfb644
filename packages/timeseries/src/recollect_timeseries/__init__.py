"""Forecasting and anomaly detection with a memory of past patterns."""
