"""How right probabilities are: those of the network, of its memory, and of a temperature in place of one.

``python -m recollect_vision.calibration RUN [RUN …]`` compares, on the test images of run folders, what a
network says alone, what it says with the examples that it remembers, and what it says alone with logits
divided by a temperature that is fitted on the validation images, with and without these examples: what memory
brings beyond one number.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from recollect.training import TrainedRun
from recollect.training.reports import report_runs
from recollect_vision.data.classification import ImageData
from recollect_vision.known import classification_run, split_features
from recollect_vision.tasks.classification import BINS, Classification, negative_log_likelihood


class Calibration(NamedTuple):
    """How right the probabilities of N images are.

    Attributes:
        source: Whose probabilities.
        accuracy: Share of the images whose likeliest class is the true one.
        ece: Expected calibration error, in bins of equal width.
        loss: Mean of −log p of the true class, in nats.
    """

    source: str
    accuracy: float
    ece: float
    loss: float


def fit_temperature(logits: Tensor, label: Tensor) -> float:
    """The T > 0 for which softmax(logits / T) has the least cross-entropy (Guo et al. 2017, section 4.2).

    Args:
        logits: ``(N, C)``.
        label: ``(N,)`` int64.

    Example:
        >>> logits = torch.tensor([[9.0, 0.0], [9.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
        >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 0])), 2)  # 3 of 4 are right
        8.19
    """
    logits = logits.double()
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        descent.zero_grad()
        loss = F.cross_entropy(logits / log_temperature.exp(), label)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        descent.step(step)  # type: ignore[no-untyped-call]
    return float(log_temperature.detach().exp())


def calibration(source: str, probability: Tensor, label: Tensor) -> Calibration:
    """Figures of ``probability`` ``(N, C)``, ``label`` ``(N,)`` being the truth."""
    return Calibration(
        source,
        float((probability.argmax(1) == label).float().mean()),
        float(multiclass_calibration_error(probability, label, probability.shape[1], n_bins=BINS)),
        float(negative_log_likelihood(probability, label)),
    )


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
