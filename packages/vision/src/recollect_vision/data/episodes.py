"""Episodes: a few classes, a few images of each, drawn anew each time."""

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from recollect_vision.data.affine import random_affine
from recollect_vision.types import EpisodeBatch


class EpisodeIndices(NamedTuple):
    """What an episode is made of, by number.

    Attributes:
        classes: ``(N,)`` int64, all different.
        images: ``(N, n)`` int64, for each class the numbers of n of its images, all different.
        order: ``(N·n,)`` int64, a permutation: the order in which they come where they come one by one.
    """

    classes: Tensor
    images: Tensor
    order: Tensor


def draw_episode(counts: Tensor, ways: int, each: int, generator: torch.Generator) -> EpisodeIndices:
    """``ways`` classes at random, ``each`` images at random of each: without replacement, in random order.

    Args:
        counts: ``(C,)`` int64, how many images each class has: at least ``each``.
        ways: How many classes.
        each: How many images of each.
        generator: Of the random numbers.

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
    """Random numbers that depend on a seed and an episode's number alone."""
    return torch.Generator().manual_seed(seed * 1_000_003 + number)


@final
class Episodes(Dataset[EpisodeBatch]):
    """As many episodes as one likes: number i is the same whenever it is asked for.

    Args:
        classes: For each class its images ``(n, 1, S, S)`` uint8.
        ways: Number N of classes in an episode.
        each: Images of each class in an episode.
        augmentation: Strength of the random affine maps.
        length: Episodes in an epoch; numbers beyond it are good, too: those of later epochs.
        seed: Of what is drawn.
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
        """Episodes in an epoch."""
        return self.length

    def __getitem__(self, number: int) -> EpisodeBatch:
        """Episode ``number``, without the axis E."""
        generator = episode_generator(self.seed, number)
        drawn = draw_episode(self._counts, self.ways, self.each, generator)
        numbers = zip(drawn.classes.tolist(), drawn.images, strict=True)
        images = torch.cat([self.classes[number][chosen] for number, chosen in numbers])
        images = random_affine(images.float() / 255, self.augmentation, generator)
        return EpisodeBatch(images.view(self.ways, self.each, *images.shape[1:]), drawn.classes, drawn.order)
