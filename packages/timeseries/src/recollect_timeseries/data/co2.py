"""Weekly carbon dioxide at Mauna Loa; a real series without a download."""

from typing import Any, final

import numpy as np
import pandas as pd
from statsmodels.datasets import co2  # type: ignore[import-untyped]

from recollect_timeseries.data.calendar import Calendar
from recollect_timeseries.data.forecasting import Borders, ForecastingData
from recollect_timeseries.data.series import Series


@final
class Co2Data(ForecastingData):
    """Atmospheric CO2 in ppm, 2,284 weeks from 1958 on (Keeling & Whorf), from statsmodels.

    59 missing weeks are interpolated. The first 70 % are for training, the last 20 % for testing.

    Args:
        lookback: As in ``ForecastingData``.
        horizon: As in ``ForecastingData``.
        options: As in ``ForecastingData``.
    """

    def __init__(
        self,
        lookback: int = 156,
        horizon: int = 52,
        **options: Any,
    ) -> None:
        super().__init__(lookback=lookback, horizon=horizon, **options)

    def read(self) -> Series:
        """Return the interpolated series."""
        frame: pd.DataFrame = co2.load_pandas().data
        values = frame[["co2"]].interpolate().to_numpy(dtype=np.float64)
        return Series("statsmodels' co2", Calendar.infer(pd.DatetimeIndex(frame.index)), 0, ["co2"], values)

    def borders(self, series: Series) -> Borders:
        """Return the borders of 0.7, 0.1 and 0.2 of the weeks."""
        weeks = len(series.values)
        return Borders(int(weeks * 0.7), weeks - int(weeks * 0.2), weeks)
