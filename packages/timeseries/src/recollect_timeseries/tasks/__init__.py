"""What is trained and measured."""

from recollect_timeseries.tasks.forecasting import Forecasting

__all__ = ["Forecasting"]
