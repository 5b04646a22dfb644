"""Accuracy over many episodes, drawn from features that are computed once."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, final

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from recollect.training.errors import ArgumentError
from recollect_vision.data.episodes import EpisodeIndices, draw_episode, episode_generator

EPISODES_PER_CHUNK = 50
"""Episodes that are classified together."""

Z95 = 1.959964
"""95 % of a normal distribution lie within this many standard deviations of its mean."""


class Setting(NamedTuple):
    """The size of an episode.

    Attributes:
        ways: Number N of classes.
        shots: Labelled examples of each class.
    """

    ways: int
    shots: int

    @property
    def name(self) -> str:
        """Its name in the names of metrics."""
        return f"{self.ways}way_{self.shots}shot"


@final
class FeatureCollector(Metric):
    """Collects features and classes of all images, over all processes."""

    full_state_update = False
    features: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("features", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add features ``(B, D)`` and classes ``(B,)``."""
        self.features.append(features)
        self.labels.append(labels)

    def compute(self) -> dict[str, Tensor]:
        """Return ``features`` ``(n, D)`` and ``labels`` ``(n,)``."""
        return {"features": dim_zero_cat(self.features), "labels": dim_zero_cat(self.labels)}


class FeatureEpisodes(NamedTuple):
    """Features of E episodes.

    Attributes:
        features: ``(E, N, n, D)``, of n images of each of N classes.
        order: ``(E, N·n)`` int64, the order of presentation if images are presented one by one.
    """

    features: Tensor
    order: Tensor


class FeatureTable(NamedTuple):
    """Features grouped by class.

    Attributes:
        features: ``(C, most, D)``, zero-padded to the size of the largest class.
        counts: ``(C,)`` int64, number of images of each class.
    """

    features: Tensor
    counts: Tensor

    def take(self, drawn: list[EpisodeIndices]) -> FeatureEpisodes:
        """Gather the features of E episodes."""
        classes, images, order = (torch.stack(p).to(self.features.device) for p in zip(*drawn, strict=True))
        return FeatureEpisodes(self.features[classes.unsqueeze(-1), images], order)


def group_by_class(features: Tensor, labels: Tensor) -> FeatureTable:
    """Group features ``(n, D)`` by class ``(n,)``; classes without images are left out.

    Images keep their order within a class, and classes are sorted by number.
    """
    present, compact, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    order = compact.argsort(stable=True)
    within = torch.arange(len(labels), device=labels.device) - (counts.cumsum(0) - counts)[compact[order]]
    table = features.new_zeros(len(present), int(counts.max()), features.shape[-1])
    table[compact[order], within] = features[order]
    return FeatureTable(table, counts.cpu())


def draw_episodes(
    table: FeatureTable, ways: int, each: int, number: int, seed: int
) -> Iterator[FeatureEpisodes]:
    """Yield ``number`` episodes of ``ways`` classes with ``each`` images, in chunks.

    They depend on ``seed`` alone.

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
    """Check that classes with ``counts`` ``(C,)`` images suffice for ``ways`` classes with ``each`` images.

    Raises:
        ArgumentError: If they do not.
    """
    if len(counts) < ways:
        raise ArgumentError(f"{ways}-way episodes: there are only {len(counts)} classes to draw from")
    if int(counts.min()) < each:
        raise ArgumentError(f"an episode takes {each} images of each class, but one has {int(counts.min())}")


def episode_accuracies(
    classify: Callable[[Tensor, Tensor, Tensor, int], Tensor], batches: Iterator[FeatureEpisodes], shots: int
) -> Tensor:
    """Accuracy on the queries of each episode.

    Args:
        classify: Maps examples, their labels, queries and the number of classes to scores ``(E, Q, C)``.
        batches: The episodes.
        shots: Number of images of a class that are examples; the others are queries.
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
    """Return the mean of independent values and the half-width of its 95 % interval, ``<name>_ci95``.

    Example:
        >>> mean_with_interval("accuracy", torch.tensor([0.9, 1.0, 0.8, 1.0]))
        {'accuracy': tensor(0.9250), 'accuracy_ci95': tensor(0.0938)}
    """
    return {name: values.mean(), f"{name}_ci95": Z95 * values.std() / len(values) ** 0.5}
