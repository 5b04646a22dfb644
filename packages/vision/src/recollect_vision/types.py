"""Image sizes and batches: what data and models both know."""

from typing import NamedTuple

from torch import Tensor


class ImageSizes(NamedTuple):
    """What a backbone is made for.

    Attributes:
        channels: 1 for grey images, 3 for colour.
        height: In pixels.
        width: In pixels.
    """

    channels: int
    height: int
    width: int


class ImageBatch(NamedTuple):
    """B images.

    Attributes:
        images: ``(B, C, height, width)``, normalised.
        label: ``(B,)`` int64; −1 where it is not known.
        number: ``(B,)`` int64, the image's number in its set.
    """

    images: Tensor
    label: Tensor
    number: Tensor


class EpisodeBatch(NamedTuple):
    """E episodes.

    Attributes:
        images: ``(E, N, n, 1, S, S)`` in [0, 1], of N classes: the first of the n are the labelled examples.
        classes: ``(E, N)`` int64, which training classes they are.
        order: ``(E, N·n)`` int64: see ``EpisodeIndices``.
    """

    images: Tensor
    classes: Tensor
    order: Tensor


class LabelledImages(NamedTuple):
    """All images of some classes.

    Attributes:
        images: ``(B, 1, S, S)`` in [0, 1].
        labels: ``(B,)`` int64, which class of the split each is.
    """

    images: Tensor
    labels: Tensor


class QueryBatch(NamedTuple):
    """Images to be classified.

    Attributes:
        files: Their names.
        images: ``(B, 1, S, S)`` in [0, 1].
    """

    files: list[str]
    images: Tensor
