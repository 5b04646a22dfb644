"""Training that begins with small images, which cost less, and ends with whole ones."""

from typing import final

import torch.nn.functional as F
from torch import Tensor


@final
class ProgressiveResizing:
    """Small images first, then ever larger ones, and whole ones at last.

    What a network learns from images of half the height and width costs it a quarter of the work, and most of
    it holds for whole ones (Howard 2018, "Training Imagenet in 3 hours for USD 25"; Hoffer et al. 2019,
    arXiv:1908.08986). For networks that take images of any size.

    Args:
        start: Height and width at the beginning, as a share of the whole.
        delay: Share of the training that sees these.
        whole: Share of the training that sees whole images, at its end. In between sizes grow evenly.
        step: Sizes are multiples of this, in pixels.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> resizing = ProgressiveResizing(start=0.5, delay=0.4, whole=0.2, step=4)
        >>> [resizing(torch.zeros(1, 3, 32, 32), done).shape[-1] for done in (0.0, 0.5, 0.6, 0.7, 0.8)]
        [16, 20, 24, 28, 32]
    """

    def __init__(self, start: float = 0.5, delay: float = 0.5, whole: float = 0.2, step: int = 4) -> None:
        if not 0 < start <= 1:
            raise ValueError(f"start must be in (0, 1], got {start}")
        if delay < 0 or whole < 0 or delay + whole > 1:
            raise ValueError(f"delay and whole must be shares of at most 1 together, got {delay} and {whole}")
        if step < 1:
            raise ValueError(f"step must be at least 1, got {step}")
        self.start = start
        self.delay = delay
        self.whole = whole
        self.step = step

    def __call__(self, images: Tensor, done: float) -> Tensor:
        """Images as the network sees them at this point of the training.

        Args:
            images: ``(B, C, height, width)``.
            done: Share of the training that is over, in [0, 1].

        Returns:
            ``(B, C, ≤ height, ≤ width)``.
        """
        scale = self.scale(done)
        height, width = (self._rounded(side, scale) for side in images.shape[-2:])
        if (height, width) == tuple(images.shape[-2:]):
            return images
        return F.interpolate(images, (height, width), mode="bilinear", antialias=True)

    def scale(self, done: float) -> float:
        """Height and width at this point, as a share of the whole."""
        if done >= 1 - self.whole:
            return 1.0
        if done <= self.delay:
            return self.start
        return self.start + (1 - self.start) * (done - self.delay) / (1 - self.delay - self.whole)

    def _rounded(self, side: int, scale: float) -> int:
        return min(side, max(self.step, self.step * round(side * scale / self.step)))
