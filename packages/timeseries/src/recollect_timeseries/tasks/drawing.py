"""Pictures of some windows of a batch."""

import torch
from torch import Tensor

from recollect_timeseries.data.forecasting import ForecastingData
from recollect_timeseries.data.windows import WindowBatch
from recollect_timeseries.models.window_memory import RetrievedWindows, WindowMemory
from recollect_timeseries.pictures import ForecastFigure, RetrievedWindow

SHOWN = 4
"""Past windows that are shown."""


def forecast_figures(
    data: ForecastingData,
    memory: WindowMemory | None,
    batch: WindowBatch,
    forecast: Tensor,
    bounds: tuple[Tensor, Tensor] | None,
    retrieved: RetrievedWindows | None,
) -> list[ForecastFigure]:
    """One figure per window: its last variable (by convention the target), in the units of the data.

    Args:
        data: The series.
        memory: The memory of training windows, if there is one.
        batch: B windows.
        forecast: ``(B, H, C)`` scaled.
        bounds: Lower and upper bound of the interval, likewise.
        retrieved: The training windows retrieved for the batch.
    """
    past, truth, point = (data.unscale(part)[..., -1] for part in (batch.past, batch.future, forecast))
    lower, upper = (None, None) if bounds is None else (data.unscale(part)[..., -1] for part in bounds)
    pictures = []
    for b, clock in enumerate(batch.clock.tolist()):
        windows = (
            []
            if memory is None or retrieved is None
            else _retrieved_windows(data, memory, retrieved, past[b], b)
        )
        variable = data.columns[-1]
        pictures.append(
            ForecastFigure(
                f"{variable}: forecast of {data.horizon} steps from {_date(data, clock)} on",
                variable,
                data.stamps(clock - data.lookback, data.lookback + data.horizon),
                past[b],
                truth[b],
                point[b],
                None if lower is None else lower[b],
                None if upper is None else upper[b],
                "80 % interval" if bounds else "",
                windows,
            )
        )
    return pictures


def _retrieved_windows(
    data: ForecastingData, memory: WindowMemory, retrieved: RetrievedWindows, past: Tensor, item: int
) -> list[RetrievedWindow]:
    """The windows that weighed most in the search of the first period."""
    weights, origins = retrieved.weights[item, 0].cpu(), retrieved.origins[item, 0].cpu()
    best = weights.topk(min(SHOWN, len(weights)))
    values = data.unscale(memory.values)[..., -1]
    steps = torch.arange(-data.lookback, data.horizon, device="cpu")
    windows = []
    for weight, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        window = values[int(origins[place]) + steps]
        moved = window - window[: data.lookback].mean() + past.mean()
        windows.append(RetrievedWindow(_date(data, int(origins[place])), weight, moved))
    return windows


def _date(data: ForecastingData, clock: int) -> str:
    """The stamp of a step, without a time of day at midnight."""
    return data.stamps(clock, 1)[0].removesuffix(" 00:00:00")
