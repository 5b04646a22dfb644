"""Forecasting and anomaly detection with a memory of past patterns."""

from typing import TYPE_CHECKING

from recollect_cli.lazy import lazy_imports

if TYPE_CHECKING:
    from recollect_timeseries.data.anomaly_detection import AnomalyData
    from recollect_timeseries.data.co2 import Co2Data
    from recollect_timeseries.data.csv_anomalies import CsvAnomalyData
    from recollect_timeseries.data.csv_series import CsvData
    from recollect_timeseries.data.ett import EttData
    from recollect_timeseries.data.forecasting import ForecastingData
    from recollect_timeseries.data.nab import NabData
    from recollect_timeseries.data.smap import SmapData
    from recollect_timeseries.data.weather import WeatherData
    from recollect_timeseries.models.anomaly_detection import Detector
    from recollect_timeseries.models.backbone import Backbone
    from recollect_timeseries.models.linear import CycleLinear, DLinear, Linear
    from recollect_timeseries.models.linear_maps import LinearMaps
    from recollect_timeseries.models.memory_autoencoder import ChannelPrototypes
    from recollect_timeseries.models.memory_detector import MemoryDetector
    from recollect_timeseries.models.patch_memory import PatchMemory
    from recollect_timeseries.models.patch_transformer import PatchTransformer
    from recollect_timeseries.models.pca_detector import PcaDetector
    from recollect_timeseries.models.random_detector import RandomDetector
    from recollect_timeseries.models.ridge_selection import RidgeSearch
    from recollect_timeseries.models.seasonal_naive import SeasonalNaive
    from recollect_timeseries.models.window_memory import WindowMemory
    from recollect_timeseries.tasks.anomaly_detection import AnomalyDetection
    from recollect_timeseries.tasks.forecasting import Forecasting
else:
    __getattr__, __dir__ = lazy_imports(__name__)

__all__ = [
    "AnomalyData",
    "AnomalyDetection",
    "Backbone",
    "ChannelPrototypes",
    "Co2Data",
    "CsvAnomalyData",
    "CsvData",
    "CycleLinear",
    "DLinear",
    "Detector",
    "EttData",
    "Forecasting",
    "ForecastingData",
    "Linear",
    "LinearMaps",
    "MemoryDetector",
    "NabData",
    "PatchMemory",
    "PatchTransformer",
    "PcaDetector",
    "RandomDetector",
    "RidgeSearch",
    "SeasonalNaive",
    "SmapData",
    "WeatherData",
    "WindowMemory",
]
