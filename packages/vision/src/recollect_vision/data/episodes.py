"""Random episodes: a few classes with a few images of each."""

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from recollect_vision.data.affine import random_affine
from recollect_vision.types import EpisodeBatch


class EpisodeIndices(NamedTuple):
    """Indices of the classes and images of an episode.

    Attributes:
        classes: ``(N,)`` int64, distinct classes.
        images: ``(N, n)`` int64, distinct images of each class.
        order: ``(N·n,)`` int64, a permutation: the order of presentation if images are presented one by one.
    """

    classes: Tensor
    images: Tensor
    order: Tensor


def draw_episode(counts: Tensor, ways: int, each: int, generator: torch.Generator) -> EpisodeIndices:
    """Draw ``ways`` classes and ``each`` images of each class, without replacement, in random order.

    Args:
        counts: ``(C,)`` int64, number of images of each class, at least ``each``.
        ways: Number of classes.
        each: Number of images of each class.
        generator: Random number generator.

    Example:
        >>> drawn = draw_episode(torch.tensor([3, 2, 2]), 2, 2, torch.Generator().manual_seed(0))
        >>> drawn.images.shape, len(set(drawn.classes.tolist()))
        (torch.Size([2, 2]), 2)
    """
    classes = torch.randperm(len(counts), generator=generator)[:ways]
    most = int(counts.max())
    chances = torch.rand(ways, most, generator=generator)
    absent = torch.arange(most) >= counts[classes].unsqueeze(-1)
    images = chances.masked_fill(absent, torch.inf).argsort(-1)[:, :each]
    return EpisodeIndices(classes, images, torch.randperm(ways * each, generator=generator))


def episode_generator(seed: int, number: int) -> torch.Generator:
    """Return a generator that depends on the seed and the number of the episode alone."""
    return torch.Generator().manual_seed(seed * 1_000_003 + number)


@final
class Episodes(Dataset[EpisodeBatch]):
    """An unlimited number of episodes; episode i is always the same.

    Args:
        classes: Images ``(n, 1, S, S)`` uint8 of each class.
        ways: Number N of classes in an episode.
        each: Number of images of each class in an episode.
        augmentation: Strength of the random affine maps.
        length: Episodes in an epoch; later epochs use larger indices.
        seed: Seed of the draws.
    """

    def __init__(
        self, classes: Sequence[Tensor], ways: int, each: int, augmentation: float, length: int, seed: int
    ) -> None:
        self.classes = classes
        self.ways = ways
        self.each = each
        self.augmentation = augmentation
        self.length = length
        self.seed = seed
        self._counts = torch.tensor([len(images) for images in classes])

    def __len__(self) -> int:
        """Number of episodes in an epoch."""
        return self.length

    def __getitem__(self, number: int) -> EpisodeBatch:
        """Return episode ``number``, without the axis E."""
        generator = episode_generator(self.seed, number)
        drawn = draw_episode(self._counts, self.ways, self.each, generator)
        numbers = zip(drawn.classes.tolist(), drawn.images, strict=True)
        images = torch.cat([self.classes[number][chosen] for number, chosen in numbers])
        images = random_affine(images.float() / 255, self.augmentation, generator)
        return EpisodeBatch(images.view(self.ways, self.each, *images.shape[1:]), drawn.classes, drawn.order)
