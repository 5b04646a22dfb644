"""Pictures of some windows of a batch."""

import torch
from torch import Tensor

from recollect_timeseries.data.forecasting import ForecastingData
from recollect_timeseries.data.windows import WindowBatch
from recollect_timeseries.models.window_memory import Recalled, WindowMemory
from recollect_timeseries.pictures import ForecastPicture, Found

SHOWN = 4
"""Past windows that are shown."""


def forecast_pictures(
    data: ForecastingData,
    memory: WindowMemory | None,
    batch: WindowBatch,
    forecast: Tensor,
    bounds: tuple[Tensor, Tensor] | None,
    recalled: Recalled | None,
) -> list[ForecastPicture]:
    """One picture for each window, of its last variable (by custom the one that matters), in its units.

    Args:
        data: The series.
        memory: What remembers the training windows, if anything does.
        batch: B windows.
        forecast: ``(B, H, C)`` scaled.
        bounds: Lower and upper bound of the interval, likewise.
        recalled: Which training windows were read for them.
    """
    past, truth, point = (data.unscale(part)[..., -1] for part in (batch.past, batch.future, forecast))
    lower, upper = (None, None) if bounds is None else (data.unscale(part)[..., -1] for part in bounds)
    pictures = []
    for b, clock in enumerate(batch.clock.tolist()):
        found = [] if memory is None or recalled is None else _found(data, memory, recalled, past[b], b)
        variable = data.columns[-1]
        pictures.append(
            ForecastPicture(
                f"{variable}: forecast of {data.horizon} steps from {_date(data, clock)} on",
                variable,
                data.stamps(clock - data.lookback, data.lookback + data.horizon),
                past[b],
                truth[b],
                point[b],
                None if lower is None else lower[b],
                None if upper is None else upper[b],
                "80 % interval" if bounds else "",
                found,
            )
        )
    return pictures


def _found(
    data: ForecastingData, memory: WindowMemory, recalled: Recalled, past: Tensor, item: int
) -> list[Found]:
    """The windows that weighed most in the search of the first period."""
    weights, origins = recalled.weights[item, 0].cpu(), recalled.origins[item, 0].cpu()
    best = weights.topk(min(SHOWN, len(weights)))
    values = data.unscale(memory.values)[..., -1]
    steps = torch.arange(-data.lookback, data.horizon, device="cpu")
    found = []
    for weight, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        window = values[int(origins[place]) + steps]
        moved = window - window[: data.lookback].mean() + past.mean()
        found.append(Found(_date(data, int(origins[place])), weight, moved))
    return found


def _date(data: ForecastingData, clock: int) -> str:
    """The stamp of a step, without a time of day at midnight."""
    return data.stamps(clock, 1)[0].removesuffix(" 00:00:00")
