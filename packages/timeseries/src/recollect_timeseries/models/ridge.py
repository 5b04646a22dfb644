"""Ridge regression in closed form from second moments."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor


class Example(NamedTuple):
    """Inputs ``(C, n, F)`` and outputs ``(C, n, H)`` of n windows of C variables."""

    inputs: Tensor
    outputs: Tensor


class Moments(NamedTuple):
    """Means over windows of x xᵀ ``(C, F, F)``, x yᵀ ``(C, F, H)`` and |y|² ``(C,)``, in float64."""

    inputs: Tensor
    cross: Tensor
    outputs: Tensor

    def only(self, kept: Tensor) -> "Moments":
        """Select inputs by their indices ``kept``."""
        return Moments(self.inputs[:, kept][:, :, kept], self.cross[:, kept], self.outputs)


class Penalty(NamedTuple):
    """A penalty for each of F inputs, and which inputs have a map per variable.

    Attributes:
        shape: ``(F,)`` base penalties; the search scales those of the shared inputs.
        individual: ``(F,)`` bool, the inputs that have a map per variable even where maps are shared, such
            as the daily cycle.
    """

    shape: Tensor
    individual: Tensor


def second_moments(parts: Iterable[Example]) -> Moments:
    """Return the second moments of examples, which determine a ridge regression."""
    inputs = cross = outputs = torch.zeros((), device="cpu")  # a single number joins those of any device
    count = 0
    for x, y in parts:
        inputs = inputs + (x.mT @ x).double()
        cross = cross + (x.mT @ y).double()
        outputs = outputs + y.double().square().sum((1, 2))
        count += x.shape[1]
    return Moments(inputs / count, cross / count, outputs / count)


def shared_maps(moments: Moments, penalty: Penalty, factor: float) -> Tensor:
    """Solve for one map W shared by all variables and a map D_c per variable: ``(C, F, H)``.

    Minimises Σ_c E|y_c − W x_c − D_c z_c|² + factor · |W|²_s / C + Σ_c |D_c|²_s. After eliminating D_c, W is
    the ridge solution for the residuals of x_c and y_c given z_c (Frisch & Waugh 1933, Econometrica 1).

    Example:
        >>> x = torch.tensor([[[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]]])
        >>> moments = second_moments([Example(x, 2 * x[..., :1] + 1)])
        >>> penalty = Penalty(torch.full((2,), 1e-9), torch.tensor([False, True]))
        >>> shared_maps(moments, penalty, 1.0).flatten().round(decimals=4).tolist()
        [2.0, 1.0]
    """
    individual, shared = penalty.individual.nonzero().squeeze(-1), (~penalty.individual).nonzero().squeeze(-1)
    shape = penalty.shape.double()
    between = moments.inputs[:, shared][:, :, individual]
    inverse = torch.linalg.inv(
        moments.inputs[:, individual][:, :, individual] + torch.diag(shape[individual])
    )
    left = between @ inverse
    inputs = (moments.inputs[:, shared][:, :, shared] - left @ between.mT).mean(0)
    cross = (moments.cross[:, shared] - left @ moments.cross[:, individual]).mean(0)
    together = torch.linalg.solve(inputs + factor * torch.diag(shape[shared]), cross)
    maps = torch.empty_like(moments.cross)
    maps[:, shared] = together
    maps[:, individual] = inverse @ (moments.cross[:, individual] - between.mT @ together)
    return maps


def individual_maps(moments: Moments, penalty: Penalty, factor: float, prior: Tensor) -> Tensor:
    """Solve for a map per variable, shrunk towards the shared maps ``prior`` ``(C, F, H)``.

    Minimises E|y_c − W_c x_c|² + factor · |W_c − W|²_s for each c; inputs with a map per variable are
    shrunk towards zero, their penalty unscaled.
    """
    shape = penalty.shape.double()
    strength = torch.where(penalty.individual, shape, factor * shape)
    towards = torch.where(penalty.individual, 0, strength).unsqueeze(-1) * prior
    solution: Tensor = torch.linalg.solve(moments.inputs + torch.diag(strength), moments.cross + towards)
    return solution


def mean_squared_errors(maps: Tensor, moments: Moments) -> Tensor:
    """Return mean squared errors ``(C,)``: E|y|² − 2⟨W, E[x yᵀ]⟩ + ⟨W, E[x xᵀ] W⟩."""
    errors = (
        moments.outputs
        - 2 * (maps * moments.cross).sum((1, 2))
        + (maps * (moments.inputs @ maps)).sum((1, 2))
    )
    return errors / maps.shape[-1]
