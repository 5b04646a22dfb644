"""Carbon dioxide at Mauna Loa, week by week: a real series that needs no download."""

from typing import Literal, final

import numpy as np
import pandas as pd
from statsmodels.datasets import co2  # type: ignore[import-untyped]

from recollect_timeseries.data.calendar import Calendar
from recollect_timeseries.data.forecasting import Borders, ForecastingData
from recollect_timeseries.data.series import Series


@final
class Co2Data(ForecastingData):
    """Atmospheric CO2 in ppm, 2,284 weeks from 1958 on (Keeling & Whorf), as it comes with statsmodels.

    59 weeks are missing and are interpolated. The first 70 % are for training, the last 20 % for the test.

    Args:
        lookback: As in ``ForecastingData``.
        horizon: As in ``ForecastingData``.
        batch_size: As in ``ForecastingData``.
        num_workers: As in ``ForecastingData``.
        seed: As in ``ForecastingData``.
        forecast: As in ``ForecastingData``.
    """

    def __init__(
        self,
        lookback: int = 156,
        horizon: int = 52,
        batch_size: int = 64,
        num_workers: int | None = None,
        seed: int = 0,
        *,
        forecast: Literal["end", "test"] = "end",
    ) -> None:
        super().__init__(lookback, horizon, batch_size, num_workers, seed, forecast=forecast)

    def read(self) -> Series:
        """The series without gaps."""
        frame: pd.DataFrame = co2.load_pandas().data
        values = frame[["co2"]].interpolate().to_numpy(dtype=np.float64)
        return Series("statsmodels' co2", Calendar.infer(pd.DatetimeIndex(frame.index)), 0, ["co2"], values)

    def borders(self, series: Series) -> Borders:
        """0.7, 0.1 and 0.2 of the weeks."""
        weeks = len(series.values)
        return Borders(int(weeks * 0.7), weeks - int(weeks * 0.2), weeks)
