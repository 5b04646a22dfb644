"""What is measured of a detector, by hand and beside torchmetrics."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_average_precision, binary_precision_recall_curve

from recollect_timeseries.metrics.anomaly_detection import (
    MeanScores,
    average_precision,
    best_f1,
    detection_scores,
    point_adjust,
)


def example(seed: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    label = np.repeat(chance.random(30) < 0.2, 10)
    label[:10], label[-10:] = True, False
    return label, (chance.random(300) + 0.3 * label).round(1 + seed % 2)  # many are equal


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_and_best_f1_beside_torchmetrics(seed):
    label, score = example(seed)
    scaled, target = torch.tensor(score / 2), torch.tensor(label).int()
    assert average_precision(label, score) == pytest.approx(
        float(binary_average_precision(scaled, target)), abs=1e-6
    )
    precision, recall, _ = binary_precision_recall_curve(scaled, target)
    f1 = 2 * precision * recall / (precision + recall).clamp_min(1e-12)
    assert best_f1(label, score) == pytest.approx(float(f1.max()), abs=1e-6)


def test_point_adjustment_flatters_a_random_score():
    label = np.arange(2000) // 100 % 10 == 3
    score = np.random.default_rng(0).random(2000)
    assert point_adjust(label, score)[300:400].tolist() == [score[300:400].max()] * 100
    measured = detection_scores(label, score, 10, threshold=np.inf)
    assert measured["best_f1"] < 0.25
    assert measured["best_f1_adjusted"] > 0.8


def test_f1_is_that_of_the_threshold():
    label, score = np.arange(10) >= 6, np.arange(10.0)
    assert detection_scores(label, score, 0, threshold=4.5)["f1"] == pytest.approx(2 * 4 / (4 + 5))
    assert detection_scores(label, score, 0, threshold=np.inf)["f1"] == 0


def test_the_mean_is_over_series_not_points():
    mean = MeanScores(["vus_pr", "f1"])
    mean.update(None)
    assert mean.compute() == {}
    mean.update({"vus_pr": 1.0, "f1": 0.0, "other": 9.0})
    mean.update({"vus_pr": 0.5, "f1": 0.5})
    assert {name: float(value) for name, value in mean.compute().items()} == {"vus_pr": 0.75, "f1": 0.25}
