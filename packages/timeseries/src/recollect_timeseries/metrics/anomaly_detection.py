"""Metrics of anomaly scores, one series at a time."""

from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from recollect_timeseries.metrics.volume_under_surface import (
    Numbers,
    anomalous_ranges,
    check_scores,
    volumes_under_surface,
)

Labels = NDArray[np.bool_]


def detection_scores(label: Labels, score: Numbers, buffer: int, threshold: float) -> dict[str, float]:
    """Compute all metrics of one series, by name.

    ``vus_pr`` and ``vus_roc``: see ``volumes_under_surface``. ``auc_pr``: average precision. ``best_f1``: the
    highest F1 of any threshold, point by point. ``best_f1_adjusted``: the same after point adjustment, which
    counts a whole range as detected once one of its points is. Random scores do well by it (Kim et al. 2022,
    arXiv:2109.05257). ``f1``: F1 at ``threshold``.

    Args:
        label: ``(T,)``.
        score: ``(T,)``.
        buffer: Buffer length of the volumes.
        threshold: Points with a higher score are predicted anomalous.

    Raises:
        ValueError: As ``volumes_under_surface``.

    Example:
        >>> scores = detection_scores(np.arange(9) == 4, np.arange(9.0), buffer=0, threshold=6.5)
        >>> round(scores["auc_pr"], 3), round(scores["best_f1"], 3), scores["f1"]
        (0.2, 0.333, 0.0)
    """
    check_scores(label, score)
    volumes = volumes_under_surface(label, score, buffer)
    found = int((label & (score > threshold)).sum())
    return {
        "vus_pr": volumes.pr,
        "vus_roc": volumes.roc,
        "auc_pr": average_precision(label, score),
        "best_f1": best_f1(label, score),
        "best_f1_adjusted": best_f1(label, point_adjust(label, score)),
        "f1": 2 * found / int(label.sum() + (score > threshold).sum()),
    }


def curve(label: Labels, score: Numbers) -> tuple[Numbers, Numbers]:
    """Count true positives and predicted positives at every threshold, from the highest score down."""
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))  # equal scores share a threshold
    return label[order].cumsum()[last].astype(np.float64), (last + 1).astype(np.float64)


def average_precision(label: Labels, score: Numbers) -> float:
    """Σ_k (R_k − R_{k−1}) P_k over thresholds: the area under the precision-recall curve, not interpolated.

    Example:
        >>> average_precision(np.array([True, False, True]), np.array([3.0, 2.0, 1.0]))
        0.8333333333333333
    """
    found, called = curve(label, score)
    return float(np.sum(np.diff(found, prepend=0) / label.sum() * found / called))


def best_f1(label: Labels, score: Numbers) -> float:
    """Return the highest F1 over all thresholds.

    Example:
        >>> best_f1(np.array([True, False, True]), np.array([3.0, 2.0, 1.0]))
        0.8
    """
    found, called = curve(label, score)
    return float(np.max(2 * found / (called + label.sum())))


def point_adjust(label: Labels, score: Numbers) -> Numbers:
    """Give every point of an anomalous range the highest score within it."""
    score = score.copy()
    for begin, end in anomalous_ranges(label):
        score[begin : end + 1] = score[begin : end + 1].max()
    return score


@final
class MeanScores(Metric):
    """Mean of named scores over series; empty without any series.

    Example:
        >>> mean = MeanScores(["vus_pr"])
        >>> mean.update({"vus_pr": 0.5}), mean.update(None), mean.update({"vus_pr": 1.0})
        (None, None, None)
        >>> mean.compute()
        {'vus_pr': tensor(0.7500)}
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, names: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.names = names
        self.add_state("total", torch.zeros(len(names), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, scores: Mapping[str, float] | None) -> None:
        """Add the scores of one series; ``None`` adds nothing."""
        if scores is not None:
            self.total += self.total.new_tensor([scores[name] for name in self.names])
            self.count += 1

    def compute(self) -> dict[str, Tensor]:
        """Return the means by name."""
        if not self.count:
            return {}
        return dict(zip(self.names, (self.total / self.count).float(), strict=True))
