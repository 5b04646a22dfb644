"""What torchmetrics lacks: errors of question answering, task by task."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torchmetrics import Metric

FAILED = 5.0
"""Per cent of errors above which a task counts as failed (Weston et al. 2015, arXiv:1502.05698)."""


@final
class ErrorPerTask(Metric):
    """Errors in per cent for each task, their mean over tasks, and how many tasks are above 5 %.

    ``error/<task>`` = 100 · wrong / asked; ``mean_error`` is the plain mean of these, whatever the size of
    the tasks; ``failed_tasks`` counts those above 5 %; ``accuracy`` is the share of right answers among all
    questions. A task of which nothing was asked is left out. A class of −1, for an answer that did not occur
    in training, is never right.

    Args:
        tasks: Names of the tasks, as ``tasks`` of the data has them.

    Raises:
        ValueError: If there is no task, or one is named twice.

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
    asked: Tensor

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        if not tasks or len(set(tasks)) < len(tasks):
            raise ValueError(f"tasks must be one or more different names, not {list(tasks)}.")
        self.tasks = list(tasks)
        for name in ("wrong", "asked"):
            self.add_state(name, torch.zeros(len(self.tasks), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, answer: Tensor, task: Tensor) -> None:
        """Count ``(B,)`` predicted classes against ``(B,)`` answers of questions of the tasks ``(B,)``.

        Raises:
            ValueError: If the shapes differ.
        """
        if not predicted.shape == answer.shape == task.shape:
            shapes = [tuple(tensor.shape) for tensor in (predicted, answer, task)]
            raise ValueError(f"predicted, answer and task must have one shape, not {shapes}.")
        wrong = (predicted != answer) | (answer < 0)
        self.asked += torch.bincount(task, minlength=len(self.tasks))
        self.wrong += torch.bincount(task[wrong], minlength=len(self.tasks))

    def compute(self) -> dict[str, Tensor]:
        """The errors by name; empty as long as nothing was asked."""
        asked = self.asked > 0
        if not asked.any():
            return {}
        error = 100 * self.wrong / self.asked.clamp(min=1)
        return {
            "accuracy": 1 - self.wrong.sum() / self.asked.sum(),
            "mean_error": error[asked].mean(),
            "failed_tasks": (error > FAILED).sum().float(),
            **{f"error/{task}": error[i] for i, task in enumerate(self.tasks) if asked[i]},
        }
