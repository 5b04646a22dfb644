"""Progressive resizing: training starts with small images, which cost less, and ends at full size."""

from typing import final

import torch.nn.functional as F
from torch import Tensor


@final
class ProgressiveResizing:
    """Resize training images to a size that grows over the training.

    Images of half the height and width take a quarter of the computation, and most of what a network learns
    from them holds at full size (Howard 2018, "Training Imagenet in 3 hours for USD 25"; Hoffer et al. 2019,
    arXiv:1908.08986). The network must accept images of any size.

    Args:
        start: Initial height and width as a fraction of the full size.
        delay: Fraction of the training at the initial size.
        whole: Fraction of the training at full size, at its end. In between the size grows linearly.
        step: Sizes are multiples of this number of pixels.

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
            raise ValueError(
                f"delay and whole must not be negative and at most 1 together, got {delay} and {whole}"
            )
        if step < 1:
            raise ValueError(f"step must be at least 1, got {step}")
        self.start = start
        self.delay = delay
        self.whole = whole
        self.step = step

    def __call__(self, images: Tensor, done: float) -> Tensor:
        """Resize images for this point of the training.

        Args:
            images: ``(B, C, height, width)``.
            done: Fraction of the training that is over, in [0, 1].

        Returns:
            ``(B, C, ≤ height, ≤ width)``.
        """
        scale = self.scale(done)
        height, width = (self._rounded(side, scale) for side in images.shape[-2:])
        if (height, width) == tuple(images.shape[-2:]):
            return images
        return F.interpolate(images, (height, width), mode="bilinear", antialias=True)

    def scale(self, done: float) -> float:
        """Return height and width at this point as a fraction of the full size."""
        if done >= 1 - self.whole:
            return 1.0
        if done <= self.delay:
            return self.start
        return self.start + (1 - self.start) * (done - self.delay) / (1 - self.delay - self.whole)

    def _rounded(self, side: int, scale: float) -> int:
        return min(side, max(self.step, self.step * round(side * scale / self.step)))
