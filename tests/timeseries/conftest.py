"""Small files that look like the datasets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

Writer = Callable[..., Path]


@pytest.fixture
def write_series(tmp_path: Path) -> Writer:
    """Write a daily-looking hourly series of ``rows`` rows and ``columns`` columns as CSV."""

    def write(name: str = "own.csv", rows: int = 300, columns: int = 2, frequency: str = "h") -> Path:
        chance = np.random.default_rng(rows)
        hours = np.arange(rows)[:, None]
        values = np.sin(hours * 2 * np.pi / 24 + np.arange(columns)) + 0.1 * chance.normal(
            size=(rows, columns)
        )
        frame = pd.DataFrame(values, columns=[f"x{i}" for i in range(columns)])
        frame.insert(0, "date", pd.date_range("2020-01-01", periods=rows, freq=frequency))
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_csv(path, index=False)
        return path

    return write
