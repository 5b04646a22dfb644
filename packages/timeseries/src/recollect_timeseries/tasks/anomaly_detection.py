"""Anomaly detection."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, final

import numpy as np
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Adam
from torchmetrics import MetricCollection

from recollect.training import Task
from recollect.training.errors import ArgumentError
from recollect_timeseries.data.anomaly_detection import AnomalyData
from recollect_timeseries.data.labelled_series import SeriesDataset
from recollect_timeseries.data.periodicity import estimate_period
from recollect_timeseries.figures.anomaly_detection import AnomalyFigure
from recollect_timeseries.metrics.anomaly_detection import MeanScores, detection_scores
from recollect_timeseries.models.anomaly_detection import Detector, DetectorMemories, DetectorSizes
from recollect_timeseries.models.memory_autoencoder import ChannelPrototypes
from recollect_timeseries.models.patch_memory import PatchMemory
from recollect_timeseries.types import SeriesBatch

METRICS = ["vus_pr", "vus_roc", "auc_pr", "best_f1", "best_f1_adjusted", "f1"]
"""Metrics of each series; reported are their means over series."""

PICTURES = 4
"""Number of channels to draw."""


class Detection(NamedTuple):
    """Scores and threshold of one channel.

    Attributes:
        scores: ``(T,)``.
        threshold: Points with a higher score are predicted anomalous.
    """

    scores: Tensor
    threshold: float


NO_ANOMALY = "no labelled anomaly"
ONLY_ANOMALIES = "nothing but labelled anomalies"
"""Why a series has no metrics."""


@final
class AnomalyDetection(Task[AnomalyData]):
    """Score every point of every channel; metrics are means over channels.

    The detector is fitted on normal data. The threshold is a quantile of the scores of held-out normal data
    and does not use labels.

    Args:
        detector: Builds the detector, given its sizes and memories; in YAML a ``class_path`` with
            ``init_args``.
        memory: Builds a memory of normal patches, given the sizes of the detector.
        prototype_memory: Builds a memory of learned prototypes for the detector's autoencoder, given the
            number of channels and the width of a code.
        place: Point that gets the score of a window (and of the averaged span): its ``"end"``, available at
            once on a stream, or its ``"middle"``, available with a delay.
        quantile: Quantile of the scores of held-out normal data that is the threshold.
        buffer: Buffer length of the volumes under the surface; the period of each series by default.
        optimizer: As in ``Task``.
        scheduler: As in ``Task``.
        scheduler_interval: As in ``Task``.

    Raises:
        ValueError: If an argument is out of range.
    """

    model: Detector
    model_methods = ("loss",)
    prediction_file = "predictions.csv"
    default_optimizer = Adam

    def __init__(
        self,
        detector: Callable[[DetectorSizes, DetectorMemories], Detector],
        memory: Callable[[DetectorSizes], PatchMemory] | None = None,
        prototype_memory: Callable[[int, int], ChannelPrototypes] | None = None,
        place: Literal["end", "middle"] = "end",
        quantile: float = 0.99,
        buffer: int | None = None,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["step", "epoch"] = "epoch",
    ) -> None:
        super().__init__(optimizer, scheduler, scheduler_interval)
        if place not in ("end", "middle"):
            raise ValueError(f'place must be "end" or "middle", got {place!r}')
        if not 0 < quantile <= 1:
            raise ValueError(f"quantile must be above 0 and at most 1, got {quantile}")
        if buffer is not None and buffer < 0:
            raise ValueError(f"buffer must not be negative, got {buffer}")
        self.detector = detector
        self.memories = DetectorMemories(memory, prototype_memory)
        self.place = place
        self.quantile = quantile
        self.buffer = buffer
        self._series_scores: dict[str, dict[str, float] | str] = {}

    @property
    def notes(self) -> list[str]:
        """The number of series without metrics, and the position of scores."""
        notes = [f"a window's score stands at its {self.place}"]
        for reason in (NO_ANOMALY, ONLY_ANOMALIES):
            number = sum(scores == reason for scores in self._series_scores.values())
            if number:
                notes.append(
                    f"{number} of {len(self._series_scores)} series have {reason} in the test part and are "
                    "left out of the means"
                )
        return notes

    # --- overrides ------------------------------------------------------------------------------------------

    def build_model(self, data: AnomalyData) -> nn.Module:
        """Build a detector for the data's sizes."""
        sizes = DetectorSizes(len(data.channels), data.window, len(data.columns), tuple(data.periods))
        return self.detector(sizes, self.memories)

    def build_metrics(self, data: AnomalyData) -> MetricCollection:
        """Return means over series."""
        return MetricCollection(MeanScores(METRICS))

    def training_loss(self, batch: Tensor) -> tuple[Tensor, int]:
        """Return the detector's loss and the batch size."""
        return self.model.loss(batch), len(batch)

    def evaluate(self, batch: Tensor | SeriesBatch, metrics: MetricCollection) -> Tensor | None:
        """Return the loss of held-out normal windows, or compute the metrics of a test channel."""
        if isinstance(batch, Tensor):
            metrics.update(None)
            return self.model.loss(batch)
        detection, label = self.detect(batch), batch.label[0].cpu().numpy()
        scores = None
        reason = ONLY_ANOMALIES if label.all() else NO_ANOMALY
        if label.any() and not label.all():
            values = batch.values[0, :, 0].double().cpu().numpy()
            buffer = estimate_period(values) if self.buffer is None else self.buffer
            scores = detection_scores(
                label,
                detection.scores.double().cpu().numpy(),
                min(buffer, len(label) - 1),
                detection.threshold,
            )
        self._series_scores[self.data.channels[int(batch.channel[0])]] = scores or reason
        metrics.update(scores)
        return None

    def predict(self, batch: SeriesBatch) -> list[dict[str, Any]]:
        """Return a row per point: series, time, score and whether the score exceeds the threshold."""
        data, detection = self.data, self.detect(batch)
        series = next(t for t in data.prediction_series() if t.name == data.channels[int(batch.channel[0])])
        return [
            {
                "series": series.name,
                "time": time,
                "score": float(f"{score:.6g}"),
                "anomaly": int(score > detection.threshold),
            }
            for time, score in zip(series.times, detection.scores.tolist(), strict=True)
        ]

    def figures(self, batch: Any) -> list[AnomalyFigure]:
        """Draw some test channels: values, scores, threshold and labels."""
        if not self.trainer.testing:
            return []
        channels = cast(SeriesDataset, self.data.dataset("test"))
        known = [i for i in range(len(channels)) if channels[i].label.any()] or list(range(len(channels)))
        some = [known[i] for i in np.unique(np.linspace(0, len(known) - 1, PICTURES).astype(int))]
        return [self._picture(self.data.collate([channels[i]])) for i in some]

    def items(self, batch: Any) -> int:
        """Return the number of windows, or 1 for a channel."""
        return len(batch) if isinstance(batch, Tensor) else 1

    # --- hooks ----------------------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Fit the closed-form parts and store normal data."""
        try:
            with self.preparing():
                self.model.fit(self._normal("train"), self._normal("val"))
        except ValueError as error:
            raise ArgumentError(f"the detector cannot learn from these data: {error}") from error

    def on_validation_epoch_start(self) -> None:
        """Update the thresholds."""
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self.model.calibrate(self._normal("train"), self._normal("val"), self.quantile)

    def on_test_start(self) -> None:
        """Reset the metrics of each series."""
        self._series_scores = {}

    def on_test_end(self) -> None:
        """Write the metrics of each series."""
        if self.trainer.world_size > 1 or cast(Any, self.trainer).fast_dev_run:
            return
        with (Path(self.trainer.default_root_dir) / "series.csv").open("w", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["series", *METRICS])
            for name, scores in self._series_scores.items():
                known = {} if isinstance(scores, str) else {m: f"{scores[m]:.4f}" for m in METRICS}
                rows.writerow([name, *(known.get(metric, "") for metric in METRICS)])

    # --- helpers --------------------------------------------------------------------------------------------

    @torch.no_grad()
    def detect(self, batch: SeriesBatch) -> Detection:
        """Score one channel as a stream that has seen the context."""
        channel = int(batch.channel[0])
        _, state = self.model(batch.context[0], channel)
        scores, _ = self.model(batch.values[0], channel, state)
        if self.place == "middle":
            scores = shift_left(scores, (self.model.window(channel) + self.model.span - 2) // 2)
        return Detection(scores, float(self.model.threshold[channel]))

    def _normal(self, split: Literal["train", "val"]) -> list[Tensor]:
        return [values.to(self.device) for values in self.data.normal(split)]

    def _picture(self, batch: SeriesBatch) -> AnomalyFigure:
        detection = self.detect(SeriesBatch(*(part.to(self.device) for part in batch)))
        name = self.data.channels[int(batch.channel[0])]
        series = next(series for series in self.data.series if series.name == name)
        return AnomalyFigure(
            f"{name}: values, anomaly score and threshold",
            self.data.columns,
            series.times,
            batch.values[0],
            detection.scores,
            detection.threshold,
            batch.label[0],
        )


def shift_left(scores: Tensor, steps: int) -> Tensor:
    """Shift scores ``(T,)`` left by ``steps``, repeating the last one.

    Example:
        >>> shift_left(torch.tensor([1.0, 2.0, 3.0]), 1)
        tensor([2., 3., 3.])
    """
    steps = min(steps, len(scores) - 1)
    return torch.cat([scores[steps:], scores[-1:].expand(steps)])
