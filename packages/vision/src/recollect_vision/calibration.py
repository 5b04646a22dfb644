"""How right probabilities are: those of the network, of its memory, and of a temperature in place of one.

``python -m recollect_vision.calibration RUN [RUN …]`` compares, on the test images of run folders, what a
network says alone, what it says with the examples that it remembers, and what it says alone with logits
divided by a temperature that is fitted on the validation images, with and without these examples: what memory
brings beyond one number.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from recollect.training import TrainedRun
from recollect.training.reports import report_runs
from recollect_vision.data.classification import ImageData
from recollect_vision.known import classification_run, split_features
from recollect_vision.metrics.classification import Calibration, calibration, fit_temperature
from recollect_vision.tasks.classification import Classification


@torch.no_grad()
def compare_calibration(task: Classification, data: ImageData) -> list[Calibration]:
    """The network alone and with a temperature; if it has a memory, either with that. On the test images.

    Raises:
        DataError: If there are no test images.
    """
    tuning, tuning_label = split_features(task, data, "val", data.numbers["val"])
    test, label = split_features(task, data, "test", data.numbers["test"])
    model, mix_weight = task.model, task.model.mix_weight
    temperature = fit_temperature(model.head(tuning), tuning_label)
    logits = model.head(test)
    scaled = (logits / temperature).softmax(1)
    rows = [
        calibration("network", logits.softmax(1), label),
        calibration(f"network, temperature {temperature:.3f}", scaled, label),
    ]
    if model.examples is not None:
        said, recalled = (model.classify(test, each).probability for each in (mix_weight, 1.0))
        both = mix_weight * recalled + (1 - mix_weight) * F.pad(
            scaled, (0, recalled.shape[1] - scaled.shape[1])
        )
        rows += [
            calibration(f"network and examples, mix weight {mix_weight:g}", said, label),
            calibration("network, temperature, and examples", both, label),
        ]
    return rows


def report(folder: str, run: TrainedRun) -> None:
    """Print a table of a run."""
    print(folder)
    for row in compare_calibration(*classification_run(folder, run)):
        print(f"  {row.source:<36} accuracy {row.accuracy:.4f}  ece {row.ece:.4f}  −log p {row.loss:.4f}")


def main(args: Sequence[str] | None = None) -> None:
    """Report on the run folders ``args``."""
    report_runs("recollect_vision.calibration", report, args)


if __name__ == "__main__":
    main()
