"""Lightning tasks."""

from recollect_timeseries.tasks.anomaly_detection import AnomalyDetection
from recollect_timeseries.tasks.forecasting import Forecasting

__all__ = ["AnomalyDetection", "Forecasting"]
