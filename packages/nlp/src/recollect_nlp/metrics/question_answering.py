"""Error rates of question answering by task."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torchmetrics import Metric

MAX_ERROR = 5.0
"""Error in per cent above which a task counts as failed (Weston et al. 2015, arXiv:1502.05698)."""


@final
class ErrorPerTask(Metric):
    """Error of each task in per cent, mean error over tasks, number of failed tasks, and accuracy.

    ``error/<task>`` = 100 · wrong / total; ``mean_error`` is their mean, whatever the size of the tasks;
    ``failed_tasks`` is the number of tasks above 5 %; ``accuracy`` is over all questions. Tasks without
    questions are left out. An answer of class −1, which did not occur in training, always counts as an error.

    Args:
        tasks: Names of the tasks.

    Raises:
        ValueError: If there is no task, or a task occurs twice.

    Example:
        >>> error = ErrorPerTask(["qa1", "qa2"])
        >>> error.update(torch.tensor([4, 7, 7]), torch.tensor([4, 7, 8]), torch.tensor([0, 1, 1]))
        >>> {name: round(value.item(), 3) for name, value in error.compute().items()}
        {'accuracy': 0.667, 'mean_error': 25.0, 'failed_tasks': 1.0, 'error/qa1': 0.0, 'error/qa2': 50.0}
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = False
    wrong: Tensor
    total: Tensor

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        if not tasks or len(set(tasks)) < len(tasks):
            raise ValueError(f"tasks must be one or more distinct names, got {list(tasks)}")
        self.tasks = list(tasks)
        for name in ("wrong", "total"):
            self.add_state(name, torch.zeros(len(self.tasks), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, answer: Tensor, task: Tensor) -> None:
        """Add predicted classes ``(B,)``, true classes ``(B,)`` and indices of the tasks ``(B,)``.

        Raises:
            ValueError: If the shapes differ.
        """
        if not predicted.shape == answer.shape == task.shape:
            shapes = [tuple(tensor.shape) for tensor in (predicted, answer, task)]
            raise ValueError(f"predicted, answer and task must have the same shape, got {shapes}")
        wrong = (predicted != answer) | (answer < 0)
        self.total += torch.bincount(task, minlength=len(self.tasks))
        self.wrong += torch.bincount(task[wrong], minlength=len(self.tasks))

    def compute(self) -> dict[str, Tensor]:
        """Return the values by name; empty without questions."""
        measured = self.total > 0
        if not measured.any():
            return {}
        error = 100 * self.wrong / self.total.clamp(min=1)
        return {
            "accuracy": 1 - self.wrong.sum() / self.total.sum(),
            "mean_error": error[measured].mean(),
            "failed_tasks": (error > MAX_ERROR).sum().float(),
            **{f"error/{task}": error[i] for i, task in enumerate(self.tasks) if measured[i]},
        }
