"""SGD with a higher learning rate for the biases of batch normalisation, and a triangular schedule."""

from collections.abc import Iterable
from functools import partial
from typing import Any, final

from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR

BIASES = "biases"
"""Key that marks the parameter group of biases."""


def group_biases(model: nn.Module, normalized: nn.Module) -> list[dict[str, Any]]:
    """Split the trainable parameters of ``model`` into biases of batch normalisation and all others.

    Args:
        model: The model.
        normalized: The part of it whose batch normalisation is meant.

    Returns:
        Parameter groups, marked by ``BIASES``. Empty groups are left out.
    """
    layers = [part for part in normalized.modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)]
    biases = [layer.bias for layer in layers if layer.affine and layer.bias.requires_grad]
    bias_ids = set(map(id, biases))
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in bias_ids]
    groups = [{"params": rest, BIASES: False}, {"params": biases, BIASES: True}]
    return [group for group in groups if group["params"]]


@final
class FastBiasSGD(SGD):
    """SGD with ``bias_rate`` times the learning rate for the biases of batch normalisation.

    As in Jordan 2024 (arXiv:2404.00498, section 3.4), after Page 2018. Their weight decay is divided by
    ``bias_rate``, so that a step decays them as much as other parameters.

    Args:
        params: Parameter groups from ``group_biases``.
        lr: Learning rate of all other parameters.
        bias_rate: Factor of the learning rate of the biases.
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
            raise ValueError("FastBiasSGD needs a network with batch normalisation that has trainable biases")
        for group in groups:
            if group.get(BIASES):
                group |= {"lr": lr * bias_rate, "weight_decay": weight_decay / bias_rate}
        super().__init__(groups, lr, momentum, weight_decay=weight_decay, nesterov=nesterov)


@final
class TriangularLR(LambdaLR):
    """Scale the learning rate of each group by a factor that rises linearly to 1 and then falls linearly.

    ``OneCycleLR`` would set the same rate for all groups. After ``total_steps`` the factor stays ``end``.

    Args:
        optimizer: The optimiser.
        total_steps: Step at which the fall ends.
        start: Factor of the first step.
        peak: Fraction of the steps in which the factor rises.
        end: Final factor.

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
    """Return the factor at ``step``: see ``TriangularLR``."""
    top = peak * total
    if step < top:
        return start + (1 - start) * step / top
    return max(end, 1 - (1 - end) * (step - top) / (total - top))
