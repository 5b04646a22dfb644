"""Linear maps solved in closed form: the moments of the windows, and the solution for a penalty."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor


class Example(NamedTuple):
    """What is mapped, for n windows of C variables: inputs ``(C, n, F)`` to outputs ``(C, n, H)``."""

    inputs: Tensor
    outputs: Tensor


class Moments(NamedTuple):
    """Means over windows of x xᵀ ``(C, F, F)``, x yᵀ ``(C, F, H)`` and |y|² ``(C,)``, in float64."""

    inputs: Tensor
    cross: Tensor
    outputs: Tensor

    def only(self, kept: Tensor) -> "Moments":
        """Those of some of the inputs, ``kept`` their numbers."""
        return Moments(self.inputs[:, kept][:, :, kept], self.cross[:, kept], self.outputs)


class Penalty(NamedTuple):
    """A penalty for each of F inputs, and which of them a variable keeps to itself.

    Attributes:
        shape: ``(F,)``; what is tried are multiples of it, but for what each variable keeps to itself.
        individual: ``(F,)`` bool, the inputs that have a map per variable even where maps are shared, such
            as the daily cycle.
    """

    shape: Tensor
    individual: Tensor


def second_moments(parts: Iterable[Example]) -> Moments:
    """Second moments of examples, which are all that a ridge regression needs to know of them."""
    inputs = cross = outputs = torch.zeros((), device="cpu")  # a single number joins those of any device
    count = 0
    for x, y in parts:
        inputs = inputs + (x.mT @ x).double()
        cross = cross + (x.mT @ y).double()
        outputs = outputs + y.double().square().sum((1, 2))
        count += x.shape[1]
    return Moments(inputs / count, cross / count, outputs / count)


def shared_maps(moments: Moments, penalty: Penalty, factor: float) -> Tensor:
    """One map W for all variables, beside an own one D_c of what each keeps to itself: ``(C, F, H)``.

    Minimises Σ_c E|y_c − W x_c − D_c z_c|² + factor · |W|²_s / C + Σ_c |D_c|²_s. With D_c solved for, W is
    the ridge solution for what z_c leaves of x_c and y_c (Frisch & Waugh 1933, Econometrica 1).

    Example:
        >>> x = torch.tensor([[[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]]])
        >>> over = moments([Example(x, 2 * x[..., :1] + 1)])
        >>> penalty = Penalty(torch.full((2,), 1e-9), torch.tensor([False, True]))
        >>> shared_maps(over, penalty, 1.0).flatten().round(decimals=4).tolist()
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
    """A map for each variable, drawn towards the shared ones ``prior`` ``(C, F, H)``.

    Minimises E|y_c − W_c x_c|² + factor · |W_c − W|²_s for each c; what a variable keeps to itself is drawn
    towards zero, its penalty not multiplied.
    """
    shape = penalty.shape.double()
    strength = torch.where(penalty.individual, shape, factor * shape)
    towards = torch.where(penalty.individual, 0, strength).unsqueeze(-1) * prior
    solution: Tensor = torch.linalg.solve(moments.inputs + torch.diag(strength), moments.cross + towards)
    return solution


def mean_squared_errors(maps: Tensor, moments: Moments) -> Tensor:
    """Errors on the windows of the moments, ``(C,)``: E|y|² − 2⟨W, E[x yᵀ]⟩ + ⟨W, E[x xᵀ] W⟩, by step."""
    errors = (
        moments.outputs
        - 2 * (maps * moments.cross).sum((1, 2))
        + (maps * (moments.inputs @ maps)).sum((1, 2))
    )
    return errors / maps.shape[-1]
