"""Electricity transformer temperature: ETTh1, ETTh2, ETTm1, ETTm2."""

from typing import Any, Literal, final

from recollect.training import data_folder, fetch
from recollect_timeseries.data.benchmark import read_benchmark
from recollect_timeseries.data.forecasting import Borders, ForecastingData
from recollect_timeseries.data.series import Series

URL = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small"

SHA256: dict[str, str | None] = {
    "ETTh1": "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
    "ETTh2": "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b",
    "ETTm1": "6ce1759b1a18e3328421d5d75fadcb316c449fcd7cec32820c8dafda71986c9e",
    "ETTm2": None,  # not published; the number of rows is checked instead
}

STEPS_PER_HOUR = {"ETTh1": 1, "ETTh2": 1, "ETTm1": 4, "ETTm2": 4}
HOURS = 17_420
"""Length of each series."""

MONTH = 30 * 24
"""Hours in a month, as in the literature."""


@final
class EttData(ForecastingData):
    """Seven variables of an electricity transformer (Zhou et al. 2021, Informer, arXiv:2012.07436).

    12 months for training, 4 for validation and 4 for testing, of 30 days each; the rest is unused.

    Args:
        lookback: As in ``ForecastingData``.
        horizon: As in ``ForecastingData``.
        batch_size: As in ``ForecastingData``.
        series: Transformer 1 or 2, hourly (h) or every 15 minutes (m).
        options: As in ``ForecastingData``.
    """

    def __init__(
        self,
        lookback: int = 336,
        horizon: int = 96,
        batch_size: int = 256,
        *,
        series: Literal["ETTh1", "ETTh2", "ETTm1", "ETTm2"] = "ETTh1",
        **options: Any,
    ) -> None:
        super().__init__(lookback=lookback, horizon=horizon, batch_size=batch_size, **options)
        if series not in SHA256:
            raise ValueError(f"series must be one of {', '.join(SHA256)}, got {series!r}")
        self.transformer = series

    def prepare_data(self) -> None:
        """Download missing files."""
        fetch(f"{URL}/{self.transformer}.csv", SHA256[self.transformer], data_folder("ett"))

    def read(self) -> Series:
        """Read the file and check its size."""
        path = fetch(f"{URL}/{self.transformer}.csv", SHA256[self.transformer], data_folder("ett"))
        return read_benchmark(path, HOURS * STEPS_PER_HOUR[self.transformer], 7)

    def borders(self, series: Series) -> Borders:
        """Return the borders at 12, 16 and 20 months."""
        month = MONTH * STEPS_PER_HOUR[self.transformer]
        return Borders(12 * month, 16 * month, 20 * month)
