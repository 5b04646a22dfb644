"""Image sizes and batches: what data and models both know."""

from typing import NamedTuple

from torch import Tensor


class ImageSizes(NamedTuple):
    """Size of an image.

    Attributes:
        channels: 1 for grey images, 3 for colour.
        height: Height in pixels.
        width: Width in pixels.
    """

    channels: int
    height: int
    width: int


class ImageBatch(NamedTuple):
    """A batch of B labelled images.

    Attributes:
        images: ``(B, C, height, width)``, normalised.
        label: ``(B,)`` int64; −1 if unknown.
        number: ``(B,)`` int64, index of the image in its set.
    """

    images: Tensor
    label: Tensor
    number: Tensor


class EpisodeBatch(NamedTuple):
    """A batch of E episodes.

    Attributes:
        images: ``(E, N, n, 1, S, S)`` in [0, 1], n images of each of N classes; the first of the n are the
            labelled examples.
        classes: ``(E, N)`` int64, indices of the training classes.
        order: ``(E, N·n)`` int64: see ``EpisodeIndices``.
    """

    images: Tensor
    classes: Tensor
    order: Tensor


class LabelledImages(NamedTuple):
    """All images of some classes.

    Attributes:
        images: ``(B, 1, S, S)`` in [0, 1].
        labels: ``(B,)`` int64, index of the class in the split.
    """

    images: Tensor
    labels: Tensor


class QueryBatch(NamedTuple):
    """A batch of B images to classify.

    Attributes:
        files: Names of the files.
        images: ``(B, 1, S, S)`` in [0, 1].
    """

    files: list[str]
    images: Tensor
