"""Descent in which the biases of normalisation learn faster than all else."""

from collections.abc import Iterable
from functools import partial
from typing import Any, final

from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR

BIASES = "biases"
"""What marks a group of biases, for an optimiser that cares."""


def group_biases(model: nn.Module, normalized: nn.Module) -> list[dict[str, Any]]:
    """What there is to learn in ``model``, and apart the biases of batch normalisation in ``normalized``.

    The groups are alike to an optimiser that does not look at ``BIASES``. A group of nothing is left out.
    """
    layers = [part for part in normalized.modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)]
    biases = [layer.bias for layer in layers if layer.affine and layer.bias.requires_grad]
    apart = set(map(id, biases))
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in apart]
    groups = [{"params": rest, BIASES: False}, {"params": biases, BIASES: True}]
    return [group for group in groups if group["params"]]


@final
class FastBiasSGD(SGD):
    """Stochastic gradient descent, the biases of batch normalisation with ``bias_rate`` times the rate.

    As in Jordan 2024 (arXiv:2404.00498, section 3.4), after Page 2018. Their weight decay is so much smaller
    that as much decays in a step.

    Args:
        params: Groups, those of biases marked by ``BIASES``: see ``group_biases``.
        lr: Learning rate of all else.
        bias_rate: How many times as large that of the biases is.
        momentum: As in ``SGD``.
        nesterov: As in ``SGD``.
        weight_decay: As in ``SGD``.

    Raises:
        ValueError: If no group is marked, or ``bias_rate`` is not positive.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.1,
        bias_rate: float = 64.0,
        momentum: float = 0.9,
        nesterov: bool = True,
        weight_decay: float = 0.0,
    ) -> None:
        groups = list(params)
        if bias_rate <= 0:
            raise ValueError(f"bias_rate must be positive, got {bias_rate}")
        if not any(isinstance(group, dict) and group.get(BIASES) for group in groups):
            raise ValueError("FastBiasSGD needs a network with batch normalisation that learns biases")
        for group in groups:
            if group.get(BIASES):
                group |= {"lr": lr * bias_rate, "weight_decay": weight_decay / bias_rate}
        super().__init__(groups, lr, momentum, weight_decay=weight_decay, nesterov=nesterov)


@final
class TriangularLR(LambdaLR):
    """Each group's own learning rate, times what rises from ``start`` to 1 and falls to ``end``.

    Both in straight lines. ``OneCycleLR`` would give all groups the same rate. After ``total_steps`` the rate
    stays as it is.

    Args:
        optimizer: Whose rates.
        total_steps: When the fall ends.
        start: Factor of the first step.
        peak: Share of the steps in which it rises.
        end: Factor at last.

    Raises:
        ValueError: If ``peak`` is not in (0, 1), or there are no steps.

    Example:
        >>> optimizer = SGD(nn.Linear(1, 1).parameters(), lr=10.0)
        >>> schedule = TriangularLR(optimizer, total_steps=4, start=0.2, peak=0.5, end=0.0)
        >>> [round(triangular_factor(step, 4, 0.2, 0.5, 0.0), 2) for step in range(6)]
        [0.2, 0.6, 1.0, 0.5, 0.0, 0.0]
        >>> optimizer.param_groups[0]["lr"]
        2.0
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: int,
        start: float = 0.2,
        peak: float = 0.23,
        end: float = 0.07,
    ) -> None:
        if total_steps < 1 or not 0 < peak < 1:
            raise ValueError(
                f"total_steps must be at least 1 and peak in (0, 1), got {total_steps} and {peak}"
            )
        self.total_steps = total_steps
        super().__init__(
            optimizer, partial(triangular_factor, total=total_steps, start=start, peak=peak, end=end)
        )


def triangular_factor(step: int, total: int, start: float, peak: float, end: float) -> float:
    """The factor at ``step``: see ``TriangularLR``."""
    top = peak * total
    if step < top:
        return start + (1 - start) * step / top
    return max(end, 1 - (1 - end) * (step - top) / (total - top))
