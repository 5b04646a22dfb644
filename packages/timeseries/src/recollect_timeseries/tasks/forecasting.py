"""Forecasting."""

from collections.abc import Callable, Iterator
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Adam
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection

from recollect import Concatenation, Integration, Memory
from recollect.training import Split, Task
from recollect_timeseries.data.forecasting import ForecastingData
from recollect_timeseries.figures.forecasting import ForecastFigure, forecast_figures
from recollect_timeseries.metrics.forecasting import Coverage, Crps, pinball_loss
from recollect_timeseries.models.backbone import Backbone, ForecasterSizes
from recollect_timeseries.models.forecasting import Forecaster
from recollect_timeseries.models.instance_norm import Normalize
from recollect_timeseries.models.linear_maps import LinearMaps
from recollect_timeseries.models.ridge import Example, second_moments
from recollect_timeseries.models.ridge_selection import Choice, Fold, RidgeSearch, examples, select_ridge
from recollect_timeseries.models.window_memory import RetrievedWindows, WindowMemory
from recollect_timeseries.types import WindowBatch

LEVELS = tuple(i / 10 for i in range(1, 10))
"""Levels of the forecast quantiles."""

INTERVAL = (0.1, 0.9)
"""Levels of the prediction interval, which should cover 80 % of the values."""

CHUNK = 512
"""Number of windows processed at once."""

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "huber": F.huber_loss,
}


@final
class Forecasting(Task[ForecastingData]):
    """Forecast the next H steps of every variable from the last L; metrics are of scaled values.

    Without ``ridge``, all parameters are trained by gradient descent. With it, the linear maps of backbone
    and memory of windows are solved in closed form at the start of training and then frozen, except for
    the spread of quantiles. The validation split and an earlier fold of the training split select, per
    variable, shared or individual map, penalty and use of the memory.

    Args:
        backbone: Builds the network from its sizes; in YAML a ``class_path`` with ``init_args``.
        normalize: Normalisation of each window: ``"last"``, ``"mean"``, ``"revin"`` or ``"none"``.
        memory: Builds a learned memory for the backbone, such as ``recollect.PrototypeMemory``, given its
            width.
        integration: How it joins the backbone: ``recollect.Concatenation``, ``Parallel`` or ``Fusion``.
        window_memory: Builds a memory of training windows, given the sizes of the forecaster.
        quantiles: Forecast nine quantiles, 0.1 to 0.9, by pinball loss instead of one value. The point
            forecast is then the median, and the metrics include CRPS and the coverage of the 80 % interval.
        loss: Training loss without quantiles: ``"mse"``, ``"mae"`` or ``"huber"``.
        ridge: Search space of closed-form maps; requires the backbone ``LinearMaps``.
        optimizer: As in ``Task``.
        scheduler: As in ``Task``.
        scheduler_interval: As in ``Task``.

    Raises:
        ValueError: If the loss is unknown.
    """

    model: Forecaster
    model_methods = ("normalize_past", "futures", "forecast_normalized", "denormalize_forecast")
    prediction_file = "predictions.csv"
    default_optimizer = Adam

    def __init__(
        self,
        backbone: Callable[[ForecasterSizes], Backbone],
        normalize: Normalize = "last",
        memory: Callable[[int], Memory] | None = None,
        integration: type[Integration] = Concatenation,
        window_memory: Callable[[ForecasterSizes], WindowMemory] | None = None,
        quantiles: bool = False,
        loss: Literal["mse", "mae", "huber"] = "mse",
        ridge: RidgeSearch | None = None,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "epoch",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
        self.backbone = backbone
        self.normalize: Normalize = normalize
        self.memory = memory
        self.integration = integration
        self.window_memory = window_memory
        self.levels = LEVELS if quantiles else ()
        self.loss = loss
        self.ridge = ridge
        self.choices: list[Choice] = []
        self._cache: dict[str, RetrievedWindows] = {}

    @property
    def notes(self) -> list[str]:
        """The selection of the closed-form maps."""
        if not self.choices:
            return []
        individual, uses_memory = (
            sum(getattr(choice, name) for choice in self.choices) for name in ("individual", "uses_memory")
        )
        factors = ", ".join(f"{choice.factor:g}" for choice in self.choices)
        return [
            f"chosen on validation: {individual} of {len(self.choices)} variables have maps of their own, "
            f"{uses_memory} make use of the memory of windows; penalties times {factors}"
        ]

    # --- overrides ------------------------------------------------------------------------------------------

    def build_model(self, data: ForecastingData) -> nn.Module:
        """Build a forecaster for the data's sizes."""
        sizes = ForecasterSizes(
            lookback=data.lookback,
            horizon=data.horizon,
            columns=len(data.columns),
            quantiles=max(len(self.levels), 1),
            steps=data.train_steps,
            normalize=self.normalize,
        )
        windows = None if self.window_memory is None else self.window_memory(sizes)
        model = Forecaster(self.backbone(sizes), windows, self.memory, self.integration)
        if self.ridge is not None:
            if not isinstance(model.backbone, LinearMaps):
                raise ValueError(
                    f"ridge solves for the maps of LinearMaps, not for a {type(model.backbone).__name__}"
                )
            for part in (
                [model.backbone.maps] if windows is None else [model.backbone.maps, *windows.out_proj]
            ):
                # Quantiles start as the mean; training learns their spread.
                part.requires_grad_(bool(self.levels))
        return model

    def build_metrics(self, data: ForecastingData) -> MetricCollection:
        """Return MSE and MAE, and with quantiles CRPS and coverage."""
        metrics: dict[str, Any] = {"mse": MeanSquaredError(), "mae": MeanAbsoluteError()}
        if self.levels:
            metrics |= {"crps": Crps(self.levels), "coverage_80": Coverage()}
        return MetricCollection(metrics)

    def training_loss(self, batch: WindowBatch) -> tuple[Tensor, int]:
        """Return the pinball loss of quantiles, or ``loss``, on scaled values."""
        return self._loss(self._forecast(batch, "train"), batch.future), len(batch.past)

    def evaluate(self, batch: WindowBatch, metrics: MetricCollection) -> Tensor:
        """Update the metrics with every step of every variable."""
        forecast = self._forecast(batch, "test" if self.trainer.testing else "val")
        point = self._point(forecast).contiguous()
        for name in ("mse", "mae"):
            metrics[name].update(point, batch.future.contiguous())
        if self.levels:
            metrics["crps"].update(forecast, batch.future)
            metrics["coverage_80"].update(*self._interval(forecast), batch.future)
        return self._loss(forecast, batch.future)

    def predict(self, batch: WindowBatch) -> list[dict[str, Any]]:
        """Return a row per step and variable, in the units of the series."""
        data, forecast = self.data, self._forecast(batch, "predict")
        values = {"forecast": self._point(forecast)}
        if self.levels:
            values["lower_80"], values["upper_80"] = self._interval(forecast)
        if data.forecast == "test":
            values["truth"] = batch.future
        unscaled = {name: data.unscale(value) for name, value in values.items()}
        rows = []
        for b, clock in enumerate(batch.clock.tolist()):
            for h, stamp in enumerate(data.stamps(clock, data.horizon)):
                for c, column in enumerate(data.columns):
                    row = {name: _number(value[b, h, c]) for name, value in unscaled.items()}
                    rows.append({"time": stamp, "column": column, **row})
        return rows

    def figures(self, batch: WindowBatch) -> list[ForecastFigure]:
        """Draw forecast and truth of some windows, with the retrieved past windows."""
        count = len(batch.past)
        spread = torch.linspace(0, count - 1, min(4, count), device="cpu").long().to(self.device)
        some = WindowBatch(*(part[spread] for part in batch))
        retrieved = self._retrieve(some, "test" if self.trainer.testing else "val")
        forecast = self.model(some.past, some.clock, retrieved)
        bounds = self._interval(forecast) if self.levels else None
        return forecast_figures(self.data, self.model.windows, some, self._point(forecast), bounds, retrieved)

    # --- hooks ----------------------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Fill the memory of windows and solve the closed-form maps."""
        self._cache.clear()
        with self.preparing():
            if self.model.windows is not None:
                values = self.data.dataset("train").values[: self.data.train_steps]
                self.model.windows.fit(values.to(self.device))
            if self.ridge is not None:
                folds = [*self._earlier_folds(self.ridge.earlier_fold), self._fold()]
                self.choices = select_ridge(self.model, folds, self.ridge)

    def _fold(self) -> Fold:
        """Return the moments of the training and validation windows."""
        return Fold(*(second_moments(self._examples(split)) for split in ("train", "val")))

    def _earlier_folds(self, share: float) -> list[Fold]:
        """Split the training windows into earlier and later ones, if there are enough.

        The memory contains the earlier ones only.
        """
        windows, sizes, memory = self.data.dataset("train"), self.model.sizes, self.model.windows
        border = int(share * self.data.train_steps)
        before = (windows.origins + sizes.horizon <= border).nonzero().squeeze(-1)
        after = (windows.origins >= border).nonzero().squeeze(-1)
        if not len(after) or len(before) < len(after):
            return []
        if self.window_memory is not None and memory is not None:
            if len(before) < memory.neighbours * memory.stride:
                return []
            with torch.device("cpu"):  # as the model was built
                memory = self.window_memory(sizes._replace(steps=border))
            memory = memory.to(self.device)
            memory.fit(windows.values[:border].to(self.device))
        return [Fold(*(second_moments(self._examples("train", items, memory)) for items in (before, after)))]

    def _examples(
        self, split: Split, items: Tensor | None = None, memory: WindowMemory | None = None
    ) -> Iterator[Example]:
        """Yield examples of a split, optionally with retrieval from another memory than the model's."""
        windows = self.data.dataset(split)
        items = torch.arange(len(windows), device="cpu") if items is None else items
        for some in items.split(CHUNK):  # type: ignore[no-untyped-call]
            batch = WindowBatch(*(part.to(self.device) for part in windows.cut(some)))
            if memory is None:
                futures = self.model.futures(batch.past, batch.clock, self._retrieve(batch, split))
            else:
                futures = memory.futures(memory.retrieve(batch.past, batch.clock))
            yield examples(self.model, batch.past, batch.future, batch.clock, futures)

    # --- helpers --------------------------------------------------------------------------------------------

    def _forecast(self, batch: WindowBatch, split: Split) -> Tensor:
        forecast: Tensor = self.model(batch.past, batch.clock, self._retrieve(batch, split))
        return forecast

    def _retrieve(self, batch: WindowBatch, split: Split) -> RetrievedWindows | None:
        """Retrieve windows for a batch; cached per split, since the memory does not change."""
        memory = self.model.windows
        if memory is None or split == "predict":
            return None
        if split not in self._cache:
            windows = self.data.dataset(split)
            items = torch.arange(len(windows), device="cpu")
            chunks = (windows.cut(some) for some in items.split(CHUNK))  # type: ignore[no-untyped-call]
            found = [
                memory.retrieve(part.past.to(self.device), part.clock.to(self.device)) for part in chunks
            ]
            self._cache[split] = RetrievedWindows(*(torch.cat(parts) for parts in zip(*found, strict=True)))
        return RetrievedWindows(*(part[batch.item] for part in self._cache[split]))

    def on_test_start(self) -> None:
        """Clear the cache: the checkpoint may differ."""
        self._cache.clear()

    def _loss(self, forecast: Tensor, truth: Tensor) -> Tensor:
        if self.levels:
            return pinball_loss(forecast, truth, forecast.new_tensor(self.levels)).mean()
        return LOSSES[self.loss](forecast.squeeze(-1), truth)

    def _point(self, forecast: Tensor) -> Tensor:
        """Return the point forecast ``(B, H, C)``, the median of quantiles."""
        return forecast[..., len(self.levels) // 2]

    def _interval(self, forecast: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = (self.levels.index(level) for level in INTERVAL)
        return forecast[..., lower], forecast[..., upper]


def _number(value: Tensor) -> float | None:
    """Round to seven digits for CSV and JSON; ``None`` for NaN."""
    return None if value.isnan() else float(f"{float(value):.7g}")
