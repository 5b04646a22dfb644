"""Weather 2020: 21 measurements every ten minutes."""

from typing import Any, final

from recollect.training import data_folder, fetch
from recollect_timeseries.data.benchmark import read_benchmark
from recollect_timeseries.data.forecasting import Borders, ForecastingData
from recollect_timeseries.data.series import Series

URL = "https://huggingface.co/datasets/thuml/Time-Series-Library/resolve/main/weather/weather.csv"
ROWS = 52_696


@final
class WeatherData(ForecastingData):
    """Measured at Jena by the Max Planck Institute for Biogeochemistry (Wu et al. 2021, arXiv:2106.13008).

    The first 70 % are for training, the last 20 % for testing. Eight timestamps are missing from the file; as
    in the literature, its rows count as evenly spaced. There is no published checksum, so the size is checked
    instead.

    Args:
        lookback: As in ``ForecastingData``.
        horizon: As in ``ForecastingData``.
        batch_size: As in ``ForecastingData``.
        options: As in ``ForecastingData``.
    """

    def __init__(
        self,
        lookback: int = 336,
        horizon: int = 96,
        batch_size: int = 256,
        **options: Any,
    ) -> None:
        super().__init__(lookback=lookback, horizon=horizon, batch_size=batch_size, **options)

    def prepare_data(self) -> None:
        """Download missing files."""
        fetch(URL, None, data_folder("weather"))

    def read(self) -> Series:
        """Read the file and check its size."""
        return read_benchmark(fetch(URL, None, data_folder("weather")), ROWS, 21)

    def borders(self, series: Series) -> Borders:
        """Return the borders of 0.7, 0.1 and 0.2 of the rows."""
        rows = len(series.values)
        return Borders(int(rows * 0.7), rows - int(rows * 0.2), rows)
