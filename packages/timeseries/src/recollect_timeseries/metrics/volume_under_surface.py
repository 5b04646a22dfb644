"""Volume under the surface: range-based ranking metrics with tolerance at the range boundaries."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = 250
"""Number of thresholds per curve, evenly spaced among the ranks of the scores as in the authors' code."""

Numbers = NDArray[np.float64]


class Volumes(NamedTuple):
    """Both volumes, in [0, 1].

    Attributes:
        roc: Under the surface of ROC curves.
        pr: Under the surface of precision-recall curves.
    """

    roc: float
    pr: float


def volumes_under_surface(label: NDArray[np.bool_], score: Numbers, buffer: int) -> Volumes:
    """VUS-ROC and VUS-PR (Paparrizos et al. 2022, PVLDB 15(11), sections 4.2 and 4.3).

    Around each anomalous range [s, e] the labels decay over ℓ/2 steps, y(t) = √(1 − (t − e)/ℓ) after it and
    likewise before it; sums are clipped at 1. With p the points at or above a threshold,

        TP = Σ y p,    recall = TP / ((P + P_ℓ)/2),    precision = TP / Σ p,    FPR = (Σ p − TP) / (T − (P +
        P_ℓ)/2),

    where P is the number of anomalous points and P_ℓ adds to it the y of those p that lie beside a range;
    TPR = recall · share of ranges (with what falls off around them) that p touches. The areas under the
    curves over 250 thresholds are averaged over ℓ = 0, …, L.

    Args:
        label: ``(T,)``, whether each point is anomalous.
        score: ``(T,)``, higher is more anomalous.
        buffer: L.

    Raises:
        ValueError: If the lengths differ, a score is not finite, or no point or every point is anomalous.

    Example:
        >>> label = np.arange(100) // 10 == 4
        >>> volumes_under_surface(label, label.astype(float), buffer=0)
        Volumes(roc=1.0, pr=1.0)
    """
    check_scores(label, score)
    if buffer < 0:
        raise ValueError(f"buffer must not be negative, got {buffer}")
    ranges = anomalous_ranges(label)
    ranks = np.linspace(0, len(score) - 1, THRESHOLDS).astype(np.int64)
    thresholds = -np.sort(-score)[ranks]
    # Index of the highest threshold that each point reaches; it is predicted from there on.
    reached = np.searchsorted(-thresholds, -score, side="left")
    predicted = np.bincount(reached, minlength=THRESHOLDS).cumsum().astype(np.float64)
    areas = [_areas(label, ranges, reached, predicted, width) for width in range(buffer + 1)]
    roc, pr = np.mean(areas, axis=0)
    return Volumes(float(roc), float(pr))


def check_scores(label: NDArray[np.bool_], score: Numbers) -> None:
    """Raise if no curve is defined for the labels and scores."""
    if label.shape != score.shape or label.ndim != 1:
        raise ValueError(f"label and score must be rows of one length, got {label.shape} and {score.shape}")
    if not np.isfinite(score).all():
        raise ValueError("scores must be finite")
    if not label.any() or label.all():
        raise ValueError("there must be anomalous points and normal ones")


def anomalous_ranges(label: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the first and last point of each anomalous range, ``(R, 2)``.

    Example:
        >>> anomalous_ranges(np.array([True, False, True, True])).tolist()
        [[0, 0], [2, 3]]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], label, [False]]).astype(np.int8)))
    return np.stack([edges[::2], edges[1::2] - 1], 1).astype(np.int64)


def soft_labels(label: NDArray[np.bool_], ranges: NDArray[np.int64], width: int) -> Numbers:
    """Return the labels y, which decay over ``width`` // 2 steps around each range."""
    soft = label.astype(np.float64)
    for begin, end in ranges:
        behind = np.arange(end + 1, min(end + width // 2 + 1, len(label)))
        soft[behind] += np.sqrt(1 - (behind - end) / width)
        before = np.arange(max(begin - width // 2, 0), begin)
        soft[before] += np.sqrt(1 - (begin - before) / width)
    return np.minimum(soft, 1.0)


def _areas(
    label: NDArray[np.bool_],
    ranges: NDArray[np.int64],
    reached: NDArray[np.int64],
    predicted: Numbers,
    width: int,
) -> tuple[float, float]:
    """Return the areas under the ROC and precision-recall curves for one ℓ."""
    soft = soft_labels(label, ranges, width) if width > 1 else label.astype(np.float64)
    counted = np.flatnonzero(soft)
    true = np.bincount(reached[counted], soft[counted], minlength=THRESHOLDS).cumsum()
    beside = counted[~label[counted]]
    found_beside = np.bincount(reached[beside], soft[beside], minlength=THRESHOLDS).cumsum()
    positives = label.sum() + found_beside / 2
    recall = np.minimum(true / positives, 1.0)
    rate = recall * _touched(ranges, reached, width // 2)
    false_rate = (predicted - true) / (len(label) - positives)
    precision = true / predicted
    hits, misses = np.concatenate([[0.0], rate, [1.0]]), np.concatenate([[0.0], false_rate, [1.0]])
    roc = np.sum(np.diff(misses) * (hits[1:] + hits[:-1]) / 2)
    return float(roc), float(np.sum(np.diff(hits[:-1]) * precision))


def _touched(ranges: NDArray[np.int64], reached: NDArray[np.int64], reach: int) -> Numbers:
    """Return, per threshold, the share of ranges (widened by ``reach`` steps) with a predicted point."""
    begins, ends = ranges[:, 0] - reach, ranges[:, 1] + reach
    apart = np.flatnonzero(ends[:-1] < begins[1:])  # widened ranges that overlap count as one
    begins = np.maximum(begins[np.concatenate([[0], apart + 1])], 0)
    ends = np.minimum(ends[np.concatenate([apart, [len(ends) - 1]])], len(reached) - 1)
    first = [reached[begin : end + 1].min() for begin, end in zip(begins, ends, strict=True)]
    return np.bincount(first, minlength=THRESHOLDS).cumsum() / len(first)
