"""A forecaster's linear maps solved in closed form, and chosen for each variable on validation."""

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
    """What is tried where maps are solved for in closed form.

    Args:
        shared: Factors on the penalties of maps that all variables share.
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
        """Check."""
        if not self.shared or min([*self.shared, *self.individual]) <= 0:
            raise ValueError(f"factors must be positive, got {self.shared} and {self.individual}")
        if not 0 <= self.earlier_fold < 1:
            raise ValueError(f"earlier_fold must be at least 0 and below 1, got {self.earlier_fold}")


class Fold(NamedTuple):
    """What is learnt from, and the later windows that are chosen on."""

    train: Moments
    val: Moments

    def only(self, kept: Tensor) -> "Fold":
        """With some of the inputs, ``kept`` their numbers."""
        return Fold(self.train.only(kept), self.val.only(kept))


class Choice(NamedTuple):
    """What was chosen for a variable.

    Attributes:
        individual: Whether the variable has a map of its own rather than the shared one.
        factor: What the penalties were multiplied by.
        uses_memory: Whether it uses the memory of windows.
        scores: For each fold the logarithm of its mean squared error, so that none outweighs another.
    """

    individual: bool
    factor: float
    uses_memory: bool
    scores: Tensor

    def beats(self, other: "Choice") -> bool:
        """Shared maps need a better mean; an own map, or use of the memory, must be better in each fold."""
        if self.individual or self.uses_memory:
            return bool((self.scores < other.scores).all())
        return bool(self.scores.mean() < other.scores.mean())


def examples(
    model: Forecaster, past: Tensor, future: Tensor, clock: Tensor, futures: list[Tensor]
) -> Example:
    """The past of each window, what came after those like it, and its future, all without its level."""
    features, level = model.normalize_past(past)
    inputs = [_maps(model).features(features, clock), *(came.transpose(0, 1) for came in futures)]
    return Example(torch.cat(inputs, -1), normalize_values(future.mT, level).transpose(0, 1))


def penalty(model: Forecaster) -> Penalty:
    """How much each input is penalised.

    The past from about 2 for the oldest value down to about 0 for the last one, since what is long past says
    less, and the mean of several by one part of that; what came after like windows by 1; the daily course,
    which every variable keeps to itself, by 0.1; a constant hardly at all.
    """
    backbone = _maps(model)
    device = backbone.maps.weight.device
    spans = backbone.spans.to(device)
    age = spans.flip(0).cumsum(0).flip(0) / spans.sum()
    course = torch.full((2 * backbone.harmonics,), 0.1, device=device)
    # Not quite zero: where nothing varies a constant could not be told from the rest.
    constant = torch.full((int(backbone.constant),), 1e-9, device=device)
    fuse = [] if model.windows is None else [cast(ChannelLinear, part) for part in model.windows.fuse]
    retrieved = torch.ones(sum(part.weight.shape[1] for part in fuse), device=device)
    individual = [torch.zeros_like(spans), torch.ones_like(course), torch.ones_like(constant)]
    return Penalty(
        torch.cat([(2 * age + 0.05) / spans, course, constant, retrieved]),
        torch.cat([*individual, torch.zeros_like(retrieved)]).bool(),
    )


def select_ridge(model: Forecaster, folds: Sequence[Fold], search: RidgeSearch) -> list[Choice]:
    """Set the maps of ``model``, and of its memory of windows, to those that do best in validation.

    For each variable it is chosen there whether its map is shared or its own, how much it is penalised, and
    whether it makes use of the memory: shared maps without it are taken unless another does better in every
    fold. Each of Q quantiles begins as the mean.

    Args:
        model: Its backbone is ``LinearMaps``.
        folds: What is chosen on; the maps that are set are those learnt in the last of them.
        search: The factors to try.

    Returns:
        What was chosen for each variable.

    Raises:
        TypeError: If the backbone is another.
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
    """All that is chosen from, with scores ``(folds, C)``, and the maps ``(C, F, H)`` of the last fold.

    Those without the memory lack its inputs, which come last.
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
        parts += [cast(ChannelLinear, part) for part in model.windows.fuse]
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
