"""Accuracy over many episodes, drawn from features that were computed once."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, final

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from recollect.training.errors import ArgumentError
from recollect_vision.data.episodes import EpisodeIndices, draw_episode, episode_generator

EPISODES_PER_CHUNK = 50
"""Episodes that are read side by side."""

Z95 = 1.959964
"""Of the normal distribution: 95 % lie within so many standard deviations."""


class Setting(NamedTuple):
    """A kind of episode.

    Attributes:
        ways: Number N of classes.
        shots: Labelled examples of each.
    """

    ways: int
    shots: int

    @property
    def name(self) -> str:
        """As in the names of metrics."""
        return f"{self.ways}way_{self.shots}shot"


@final
class FeatureCollector(Metric):
    """Keeps the features of all images with their classes; over all processes."""

    full_state_update = False
    features: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("features", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Keep ``(B, D)`` features and ``(B,)`` classes."""
        self.features.append(features)
        self.labels.append(labels)

    def compute(self) -> dict[str, Tensor]:
        """``features`` ``(n, D)`` and ``labels`` ``(n,)``."""
        return {"features": dim_zero_cat(self.features), "labels": dim_zero_cat(self.labels)}


class FeatureEpisodes(NamedTuple):
    """E episodes, as features.

    Attributes:
        features: ``(E, N, n, D)``, of n images of each of N classes.
        order: ``(E, N·n)`` int64, in which they come where they come one by one.
    """

    features: Tensor
    order: Tensor


class FeatureTable(NamedTuple):
    """Features by class.

    Attributes:
        features: ``(C, most, D)``; zero where a class has fewer images than the largest.
        counts: ``(C,)`` int64, images of each class.
    """

    features: Tensor
    counts: Tensor

    def take(self, drawn: list[EpisodeIndices]) -> FeatureEpisodes:
        """The features of E episodes."""
        classes, images, order = (torch.stack(p).to(self.features.device) for p in zip(*drawn, strict=True))
        return FeatureEpisodes(self.features[classes.unsqueeze(-1), images], order)


def group_by_class(features: Tensor, labels: Tensor) -> FeatureTable:
    """A table of features ``(n, D)`` with classes ``(n,)``; classes without images are left out.

    Images of a class keep their order, and classes that of their numbers, whoever computed them.
    """
    known, compact, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    order = compact.argsort(stable=True)
    within = torch.arange(len(labels), device=labels.device) - (counts.cumsum(0) - counts)[compact[order]]
    table = features.new_zeros(len(known), int(counts.max()), features.shape[-1])
    table[compact[order], within] = features[order]
    return FeatureTable(table, counts.cpu())


def draw_episodes(
    table: FeatureTable, ways: int, each: int, number: int, seed: int
) -> Iterator[FeatureEpisodes]:
    """``number`` episodes of ``ways`` classes with ``each`` images, a few at a time; the same ones each time.

    Raises:
        ArgumentError: If there are too few classes, or a class has too few images.
    """
    check_draw(table.counts, ways, each)
    for start in range(0, number, EPISODES_PER_CHUNK):
        numbers = range(start, min(start + EPISODES_PER_CHUNK, number))
        yield table.take(
            [draw_episode(table.counts, ways, each, episode_generator(seed, i)) for i in numbers]
        )


def check_draw(counts: Tensor, ways: int, each: int) -> None:
    """Classes with ``counts`` ``(C,)`` images suffice for episodes of ``ways`` with ``each`` images.

    Raises:
        ArgumentError: If there are not.
    """
    if len(counts) < ways:
        raise ArgumentError(f"{ways}-way episodes: there are only {len(counts)} classes to draw from")
    if int(counts.min()) < each:
        raise ArgumentError(f"an episode takes {each} images of each class, but one has {int(counts.min())}")


def episode_accuracies(
    classify: Callable[[Tensor, Tensor, Tensor, int], Tensor], batches: Iterator[FeatureEpisodes], shots: int
) -> Tensor:
    """Share of queries whose most probable class is right, for each episode.

    Args:
        classify: From examples, their labels, queries and the number of classes to scores ``(E, Q, C)``.
        batches: Episodes.
        shots: How many images of a class are examples; the others are queries.
    """
    found = []
    for features, _ in batches:
        ways, each = features.shape[1:3]
        labels = torch.arange(ways, device=features.device).unsqueeze(-1).expand(len(features), -1, each)
        examples, queries = features[:, :, :shots].flatten(1, 2), features[:, :, shots:].flatten(1, 2)
        scores = classify(examples, labels[..., :shots].flatten(1), queries, ways)
        found.append((scores.argmax(-1) == labels[..., shots:].flatten(1)).float().mean(-1))
    return torch.cat(found)


def mean_with_interval(name: str, values: Tensor) -> dict[str, Tensor]:
    """The mean of independent values, and half the width of its 95 % interval, as ``<name>_ci95``.

    Example:
        >>> mean_with_interval("accuracy", torch.tensor([0.9, 1.0, 0.8, 1.0]))
        {'accuracy': tensor(0.9250), 'accuracy_ci95': tensor(0.0938)}
    """
    return {name: values.mean(), f"{name}_ci95": Z95 * values.std() / len(values) ** 0.5}
