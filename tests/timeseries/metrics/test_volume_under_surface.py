"""Volumes under the surface, held to the paper's formulas written out point by point."""

import math
from itertools import pairwise

import numpy as np
import pytest

from recollect_timeseries.metrics.volume_under_surface import (
    anomalous_ranges,
    soft_labels,
    volumes_under_surface,
)

AUTHORS = (0.6492430608186354, 0.5131205532232634)
"""Of the example below."""


def plain(label: list[bool], score: list[float], buffer: int) -> tuple[float, float]:
    """The definition, one threshold and one point at a time."""
    size, ranges = len(label), [tuple(pair) for pair in anomalous_ranges(np.array(label)).tolist()]
    ordered = sorted(score, reverse=True)
    thresholds = [ordered[int(k * (size - 1) / 249)] for k in range(250)]
    rocs, prs = [], []
    for width in range(buffer + 1):
        half, soft = width // 2, [0.0] * size
        for t in range(size):
            for begin, end in ranges:
                away = begin - t if t < begin else max(t - end, 0)
                if away <= half:
                    soft[t] += math.sqrt(1 - away / width) if away else 1.0
            soft[t] = min(soft[t], 1.0)
        zones: list[list[int]] = []
        for begin, end in ranges:
            if zones and zones[-1][1] >= begin - half:
                zones[-1][1] = end + half
            else:
                zones.append([begin - half, end + half])
        curve = [(0.0, 0.0, 1.0)]
        for threshold in thresholds:
            found = {t for t in range(size) if score[t] >= threshold}
            true = sum(soft[t] for t in found)
            positives = sum(label) + sum(soft[t] for t in found if not label[t]) / 2
            touched = sum(any(begin <= t <= end for t in found) for begin, end in zones) / len(zones)
            false_rate = (len(found) - true) / (size - positives)
            curve.append((min(true / positives, 1) * touched, false_rate, true / len(found)))
        prs.append(sum((b[0] - a[0]) * b[2] for a, b in pairwise(curve)))
        curve.append((1.0, 1.0, 0.0))
        pairs = pairwise(curve)
        rocs.append(sum((b[1] - a[1]) * (a[0] + b[0]) / 2 for a, b in pairs))
    return sum(rocs) / len(rocs), sum(prs) / len(prs)


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_definition(seed: int) -> None:
    chance = np.random.default_rng(seed)
    label = np.zeros(60, dtype=bool)
    for begin in chance.integers(0, 55, 1 + seed % 3):
        label[begin : begin + chance.integers(1, 6)] = True
    score = chance.normal(size=60) + label
    if seed % 2:
        score = score.round()  # many are equal
    expected = plain(label.tolist(), score.tolist(), buffer=9)
    assert tuple(volumes_under_surface(label, score, 9)) == pytest.approx(expected, abs=1e-12)


def test_figures_of_the_authors_package() -> None:
    """As its release 0.0.6 computes them (``metricor().RangeAUC_volume_opt``)."""
    label = np.zeros(200, dtype=bool)
    label[30:42] = label[50:53] = label[150:190] = True
    t = np.arange(200)
    score = np.sin(t / 7) + 0.5 * np.cos(t / 3) + 0.4 * label
    assert volumes_under_surface(label, score, 20) == pytest.approx(AUTHORS, abs=1e-12)


def test_labels_fall_off_around_a_range_and_meet_between_two() -> None:
    label = np.zeros(12, dtype=bool)
    label[[3, 6]] = True
    soft = soft_labels(label, anomalous_ranges(label), 4)
    near, far = math.sqrt(3 / 4), math.sqrt(1 / 2)
    assert soft == pytest.approx([0, far, near, 1, 1, 1, 1, near, far, 0, 0, 0])


def test_a_score_that_comes_a_little_late_is_forgiven_by_the_buffer_alone() -> None:
    label = np.zeros(300, dtype=bool)
    label[100:110] = True
    late = np.roll(label, 6).astype(float)
    strict, tolerant = (volumes_under_surface(label, late, buffer).pr for buffer in (0, 40))
    assert strict < 0.5 < tolerant


def test_the_order_of_scores_is_all_that_counts() -> None:
    chance = np.random.default_rng(0)
    label, score = np.arange(400) // 20 % 7 == 3, chance.normal(size=400)
    assert volumes_under_surface(label, score, 10) == volumes_under_surface(label, np.exp(score), 10)


@pytest.mark.parametrize(
    ("label", "score", "buffer", "message"),
    [
        ([False] * 4, [0.0] * 4, 1, "anomalous points and normal"),
        ([True] * 4, [0.0] * 4, 1, "anomalous points and normal"),
        ([True, False], [0.0], 1, "one length"),
        ([True, False], [0.0, math.nan], 1, "finite"),
        ([True, False], [0.0, 1.0], -1, "negative"),
    ],
)
def test_what_no_curve_can_be_drawn_for(
    label: list[bool], score: list[float], buffer: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        volumes_under_surface(np.array(label), np.array(score), buffer)
