"""Closed-form ridge maps of a forecaster, selected per variable on validation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor

from recollect_timeseries.models.channel_linear import ChannelLinear
from recollect_timeseries.models.forecasting import Forecaster
from recollect_timeseries.models.instance_norm import normalize_values
from recollect_timeseries.models.linear_maps import LinearMaps
from recollect_timeseries.models.ridge import (
    Example,
    Moments,
    Penalty,
    individual_maps,
    mean_squared_errors,
    shared_maps,
)


@dataclass(frozen=True)
class RidgeSearch:
    """Search space of the closed-form ridge maps.

    Args:
        shared: Factors on the penalties of the shared maps.
        individual: Factors on the distance of one variable's map from the shared map; empty to share
            all maps.
        earlier_fold: Share of the training split that an earlier fold is fitted on; the rest of the split
            scores it. 0 uses the validation split alone.

    Raises:
        ValueError: If a factor is not positive, there is none, or ``earlier_fold`` is out of range.
    """

    shared: Sequence[float] = (0.03, 0.1, 0.3, 1.0, 3.0)
    individual: Sequence[float] = (10.0, 1.0)
    earlier_fold: float = 0.67

    def __post_init__(self) -> None:
        """Validate the values."""
        if not self.shared or min([*self.shared, *self.individual]) <= 0:
            raise ValueError(f"factors must be positive, got {self.shared} and {self.individual}")
        if not 0 <= self.earlier_fold < 1:
            raise ValueError(f"earlier_fold must be at least 0 and below 1, got {self.earlier_fold}")


class Fold(NamedTuple):
    """Moments of the training windows and of the later windows that select."""

    train: Moments
    val: Moments

    def only(self, kept: Tensor) -> "Fold":
        """Select inputs by their indices ``kept``."""
        return Fold(self.train.only(kept), self.val.only(kept))


class Choice(NamedTuple):
    """The selection for one variable.

    Attributes:
        individual: Whether the variable has a map of its own rather than the shared one.
        factor: Factor on the penalties.
        uses_memory: Whether it uses the memory of windows.
        scores: Log mean squared error of each fold; the logarithm gives folds equal weight.
    """

    individual: bool
    factor: float
    uses_memory: bool
    scores: Tensor

    def beats(self, other: "Choice") -> bool:
        """Compare choices: shared maps by their mean, others must be better in every fold."""
        if self.individual or self.uses_memory:
            return bool((self.scores < other.scores).all())
        return bool(self.scores.mean() < other.scores.mean())


def examples(
    model: Forecaster, past: Tensor, future: Tensor, clock: Tensor, futures: list[Tensor]
) -> Example:
    """Return normalised inputs (past and retrieved futures) and normalised futures of windows."""
    features, level = model.normalize_past(past)
    inputs = [_maps(model).features(features, clock), *(came.transpose(0, 1) for came in futures)]
    return Example(torch.cat(inputs, -1), normalize_values(future.mT, level).transpose(0, 1))


def penalty(model: Forecaster) -> Penalty:
    """Return the penalty of each input.

    Past values have about 2 for the oldest down to about 0 for the latest, since older values tell less,
    divided by the number of steps they average. Retrieved futures have 1, the seasonal cycle of each
    variable 0.1, and a constant almost none.
    """
    backbone = _maps(model)
    device = backbone.maps.weight.device
    spans = backbone.spans.to(device)
    age = spans.flip(0).cumsum(0).flip(0) / spans.sum()
    course = torch.full((2 * backbone.harmonics,), 0.1, device=device)
    # Not zero, so that the system stays regular for a constant series.
    constant = torch.full((int(backbone.constant),), 1e-9, device=device)
    out_proj = [] if model.windows is None else [cast(ChannelLinear, part) for part in model.windows.out_proj]
    retrieved = torch.ones(sum(part.weight.shape[1] for part in out_proj), device=device)
    individual = [torch.zeros_like(spans), torch.ones_like(course), torch.ones_like(constant)]
    return Penalty(
        torch.cat([(2 * age + 0.05) / spans, course, constant, retrieved]),
        torch.cat([*individual, torch.zeros_like(retrieved)]).bool(),
    )


def select_ridge(model: Forecaster, folds: Sequence[Fold], search: RidgeSearch) -> list[Choice]:
    """Set the maps of ``model`` and of its memory of windows to the best ones on validation.

    The selection per variable covers shared or individual map, penalty factor and use of the memory. Shared
    maps without memory are kept unless another choice is better in every fold. All Q quantiles start as the
    mean.

    Args:
        model: A forecaster whose backbone is ``LinearMaps``.
        folds: Folds to select on; the maps come from the last one.
        search: The factors to try.

    Returns:
        The choice for each variable.

    Raises:
        TypeError: If the backbone is not ``LinearMaps``.
    """
    best = torch.zeros_like(folds[-1].train.cross)
    nothing = Choice(False, 0.0, False, best.new_full((len(folds),), torch.inf))
    chosen = [nothing] * model.sizes.columns
    for choice, maps in _candidates(model, folds, search):
        for c in range(model.sizes.columns):
            of_this = choice._replace(scores=choice.scores[:, c])
            if of_this.beats(chosen[c]):
                chosen[c] = of_this
                best[c] = 0
                best[c, : maps.shape[1]] = maps[c]
    _set(model, best)
    return chosen


def _candidates(
    model: Forecaster, folds: Sequence[Fold], search: RidgeSearch
) -> Iterator[tuple[Choice, Tensor]]:
    """Yield each candidate with scores ``(folds, C)`` and the maps ``(C, F, H)`` of the last fold.

    Candidates without memory lack its inputs, which come last.
    """
    of_all = penalty(model)
    alone = _maps(model).maps.weight.shape[1]
    for uses_memory in (False, True) if model.windows is not None else (False,):
        kept = torch.arange(len(of_all.shape) if uses_memory else alone, device=of_all.shape.device)
        some = [fold.only(kept) for fold in folds]
        penalties = Penalty(of_all.shape[kept], of_all.individual[kept])
        priors: list[Tensor] = []
        least = torch.inf
        for factor in search.shared:
            maps = [shared_maps(fold.train, penalties, factor) for fold in some]
            scores = _scores(maps, some)
            if scores.mean() < least:
                priors, least = maps, scores.mean().item()
            yield Choice(False, factor, uses_memory, scores), maps[-1]
        for factor in search.individual:
            maps = [
                individual_maps(fold.train, penalties, factor, prior)
                for fold, prior in zip(some, priors, strict=True)
            ]
            yield Choice(True, factor, uses_memory, _scores(maps, some)), maps[-1]


def _scores(maps: Sequence[Tensor], folds: Sequence[Fold]) -> Tensor:
    errors = [mean_squared_errors(part, fold.val) for part, fold in zip(maps, folds, strict=True)]
    return torch.stack(errors).clamp_min(1e-12).log()


def _set(model: Forecaster, solution: Tensor) -> None:
    per_quantile = solution.float().repeat_interleave(model.sizes.quantiles, -1)
    parts = [_maps(model).maps]
    if model.windows is not None:
        parts += [cast(ChannelLinear, part) for part in model.windows.out_proj]
    begin = 0
    with torch.no_grad():
        for part in parts:
            end = begin + part.weight.shape[1]
            part.weight.copy_(per_quantile[:, begin:end])
            begin = end


def _maps(model: Forecaster) -> LinearMaps:
    if not isinstance(model.backbone, LinearMaps):
        raise TypeError(f"{type(model.backbone).__name__} has no linear maps that ridge could solve for")
    return model.backbone
