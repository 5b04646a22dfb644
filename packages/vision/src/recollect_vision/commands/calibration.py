"""Calibration of trained classifiers, with and without memory and with temperature scaling.

``recollect-vision calibrate RUN [RUN …]`` compares four predictions on the test images of each run folder:
the network alone, the network with its examples, and both again with the logits divided by a temperature that
is fitted on the validation images.
"""

import argparse

import torch
import torch.nn.functional as F

from recollect.training import TrainedRun
from recollect.training.load import report_runs
from recollect_vision.commands.features import classification_run, split_features
from recollect_vision.data.classification import ImageData
from recollect_vision.metrics.classification import Calibration, calibration, fit_temperature
from recollect_vision.tasks.classification import Classification


@torch.no_grad()
def compare_calibration(task: Classification, data: ImageData) -> list[Calibration]:
    """Calibration on the test images: the network alone, with a temperature, and both with the memory.

    Raises:
        DataError: If there is no test split.
    """
    val, val_label = split_features(task, data, "val", data.numbers["val"])
    test, label = split_features(task, data, "test", data.numbers["test"])
    model, mix_weight = task.model, task.model.mix_weight
    temperature = fit_temperature(model.head(val), val_label)
    logits = model.head(test)
    scaled = (logits / temperature).softmax(1)
    rows = [
        calibration("network", logits.softmax(1), label),
        calibration(f"network, temperature {temperature:.3f}", scaled, label),
    ]
    if model.examples is not None:
        mixed, recalled = (model.classify(test, weight).probability for weight in (mix_weight, 1.0))
        both = mix_weight * recalled + (1 - mix_weight) * F.pad(
            scaled, (0, recalled.shape[1] - scaled.shape[1])
        )
        rows += [
            calibration(f"network and examples, mix weight {mix_weight:g}", mixed, label),
            calibration("network, temperature, and examples", both, label),
        ]
    return rows


def report(folder: str, run: TrainedRun) -> None:
    """Print the calibration of a run."""
    print(folder)
    for row in compare_calibration(*classification_run(folder, run)):
        print(f"  {row.source:<36} accuracy {row.accuracy:.4f}  ece {row.ece:.4f}  −log p {row.loss:.4f}")


def run(options: argparse.Namespace) -> None:
    """Measure the run folders ``options.runs``."""
    report_runs("recollect_vision", options.runs, report)
