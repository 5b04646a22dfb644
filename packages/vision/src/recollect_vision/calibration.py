"""How right probabilities are: those of the network, of its memory, and of a temperature in place of one.

``python -m recollect_vision.calibration RUN [RUN …]`` compares, on the test images of run folders, what a
network says alone, what it says with the examples that it remembers, and what it says alone with logits
divided by a temperature that is fitted on the validation images, with and without these examples: what memory
brings beyond one number.
"""

import sys
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from recollect.training import DataError, Split, load_run
from recollect_vision.data.images import ImageData
from recollect_vision.tasks.classification import Classification

BINS = 15
"""Of the expected calibration error."""


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


def temperature_of(logits: Tensor, label: Tensor) -> float:
    """The T > 0 for which softmax(logits / T) has the least cross-entropy (Guo et al. 2017, section 4.2).

    Args:
        logits: ``(N, C)``.
        label: ``(N,)`` int64.

    Example:
        >>> logits = torch.tensor([[9.0, 0.0], [9.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
        >>> round(temperature_of(logits, torch.tensor([0, 0, 0, 0])), 2)  # sure to e⁹ : 1, right 3 times of 4
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
    right = probability.gather(1, label.unsqueeze(1)).clamp_min(torch.finfo(probability.dtype).tiny)
    return Calibration(
        source,
        float((probability.argmax(1) == label).float().mean()),
        float(multiclass_calibration_error(probability, label, probability.shape[1], n_bins=BINS)),
        float(-right.log().mean()),
    )


@torch.no_grad()
def compared(task: Classification, data: ImageData) -> list[Calibration]:
    """The network alone and with a temperature; if it has a memory, either with that. On the test images.

    Raises:
        DataError: If there are no test images.
    """
    (tuning, tuning_label), (test, label) = _features(task, data, "val"), _features(task, data, "test")
    model, share = task.model, task.model.share
    temperature = temperature_of(model.head(tuning), tuning_label)
    logits = model.head(test)
    scaled = (logits / temperature).softmax(1)
    rows = [
        calibration("network", logits.softmax(1), label),
        calibration(f"network, temperature {temperature:.3f}", scaled, label),
    ]
    if model.examples is not None:
        said, recalled = (model.classify(test, each).probability for each in (share, 1.0))
        both = share * recalled + (1 - share) * F.pad(scaled, (0, recalled.shape[1] - scaled.shape[1]))
        rows += [
            calibration(f"network and examples, share {share:g}", said, label),
            calibration("network, temperature, and examples", both, label),
        ]
    return rows


def _features(task: Classification, data: ImageData, split: Split) -> tuple[Tensor, Tensor]:
    part, numbers = data.part(split), data.numbers[split]
    if part is None:
        raise DataError(f"{data.source} has no {split} split")
    return task.features_of(part, numbers), part.labels[numbers]


def main(args: Sequence[str] | None = None) -> None:
    """Print a table for each of the run folders ``args``."""
    folders = list(sys.argv[1:] if args is None else args)
    if not folders or folders[0] in ("-h", "--help"):
        print("usage: python -m recollect_vision.calibration RUN [RUN …]")
        return
    for folder in folders:
        run = load_run(folder)
        print(folder)
        for row in compared(cast(Classification, run.task), cast(ImageData, run.data)):
            print(f"  {row.source:<36} accuracy {row.accuracy:.4f}  ece {row.ece:.4f}  −log p {row.loss:.4f}")


if __name__ == "__main__":
    main()
