"""Linear forecasters solved in closed form."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from recollect_timeseries.models.forecaster import Forecaster
from recollect_timeseries.models.instance_norm import take_out


class Example(NamedTuple):
    """What a linear forecaster maps, for some windows: inputs ``(n, F)`` to outputs ``(n, H)``."""

    inputs: Tensor
    outputs: Tensor


class Moments(NamedTuple):
    """Means over windows of x xᵀ ``(F, F)``, x yᵀ ``(F, H)`` and |y|², in float64."""

    inputs: Tensor
    cross: Tensor
    outputs: Tensor


def examples(model: Forecaster, past: Tensor, future: Tensor, futures: list[Tensor]) -> Example:
    """The past of each window, what came after those like it, and its future, all without its level."""
    features, level = model.take_apart(past)
    inputs = torch.cat([features, *futures], -1)
    ones = inputs.new_ones(*inputs.shape[:-1], 1)
    outputs = take_out(future.mT, level)
    return Example(torch.cat([inputs, ones], -1).flatten(0, 1), outputs.flatten(0, 1))


def moments(parts: Iterable[Example]) -> Moments:
    """Second moments of examples, which are all that a ridge regression needs to know of them."""
    inputs = cross = outputs = torch.zeros(())
    count = 0
    for x, y in parts:
        inputs = inputs + (x.T @ x).double()
        cross = cross + (x.T @ y).double()
        outputs = outputs + y.double().square().sum()
        count += len(x)
    return Moments(inputs / count, cross / count, outputs / count)


def ridge(train: Moments, penalty: Tensor) -> Tensor:
    """W = (E[x xᵀ] + diag(penalty))⁻¹ E[x yᵀ], ``(F, H)``, with a penalty ``(F,)`` for each input.

    Ordinary least squares on windows without their level is the optimum that linear forecasters trained by
    descent approach (Toner & Darlow 2024, arXiv:2403.14587, section 4).

    Example:
        >>> x = torch.tensor([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]])
        >>> solution = ridge(moments([Example(x, 2 * x[:, :1] + 1)]), torch.full((2,), 1e-9))
        >>> solution.squeeze().round(decimals=4).tolist()
        [2.0, 1.0]
    """
    solution: Tensor = torch.linalg.solve(train.inputs + torch.diag(penalty.double()), train.cross)
    return solution


def penalties_by_age(lookback: int, others: int) -> Tensor:
    """How much each input is penalised: ``(L + others + 1,)``.

    The past from about 2 for the oldest value down to about 0 for the last one, since what is long past says
    less; other inputs by 1; and the constant, which comes last, not at all.

    Example:
        >>> [round(penalty, 2) for penalty in penalties_by_age(4, 1).tolist()]
        [2.05, 1.55, 1.05, 0.55, 1.0, 0.0]
    """
    age = torch.linspace(1, 0, lookback + 1)[:-1]
    # Not quite zero: where nothing varies the constant could not be told from the rest.
    return torch.cat([2 * age + 0.05, torch.ones(others), torch.full((1,), 1e-9)])


def mean_squared_error(weights: Tensor, over: Moments) -> float:
    """The error of W on the windows of the moments: E|y|² − 2⟨W, E[x yᵀ]⟩ + ⟨W, E[x xᵀ] W⟩, for each step."""
    error = over.outputs - 2 * (weights * over.cross).sum() + (weights * (over.inputs @ weights)).sum()
    return float(error) / weights.shape[1]


class Solution(NamedTuple):
    """The penalty that did best in validation, and its error there."""

    penalty: float
    error: float


def solve(
    model: Forecaster,
    train: Callable[[], Iterable[Example]],
    val: Callable[[], Iterable[Example]],
    penalties: Sequence[float],
) -> Solution:
    """Set the linear map of ``model``, and of its memory of windows, to the best ridge solution.

    Each of Q quantiles begins as the mean.

    Args:
        model: Its backbone has one linear map, ``linear``.
        train: Gives the training windows.
        val: Gives the windows that the penalty is chosen on.
        penalties: Those tried.

    Raises:
        ValueError: If it has no such map.
    """
    over_train, over_val = moments(train()), moments(val())
    lookback, device = model.sizes.lookback, over_train.inputs.device
    shape = penalties_by_age(lookback, len(over_train.inputs) - lookback - 1).to(device)
    tried = [
        (mean_squared_error(ridge(over_train, penalty * shape), over_val), penalty) for penalty in penalties
    ]
    error, penalty = min(tried)
    weights = ridge(over_train, penalty * shape).float()
    linear = model.linear
    if linear is None:
        raise ValueError(f"{type(model.backbone).__name__} has no linear map to solve for")
    per_quantile = weights.repeat_interleave(model.sizes.quantiles, 1).T  # (H · Q, F)
    parts = [linear] if model.windows is None else [linear, *cast(Iterable[nn.Linear], model.windows.fuse)]
    with torch.no_grad():
        begin = 0
        for part in parts:
            part.weight.copy_(per_quantile[:, begin : begin + part.in_features])
            begin += part.in_features
        linear.bias.copy_(per_quantile[:, -1])
    return Solution(penalty, error)
