"""Random affine maps, drawn per image."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TURN, SCALE, SHEAR, SHIFT = math.radians(12), 0.12, 0.15, 0.18
"""Largest rotation, relative scale, shear, and shift as a fraction of half the image, at strength 1."""


def random_affine(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Rotate, scale, shear and shift each image at random; the border is filled with 0.

    ``torchvision.transforms.v2.RandomAffine`` draws one map for all images of a batch.

    Args:
        images: ``(B, C, H, W)``, background 0.
        strength: 1 for up to 12°, 12 % of scale, 0.15 of shear and 9 % of shift; 0 for none.
        generator: Random number generator.

    Example:
        >>> one = random_affine(torch.ones(2, 1, 8, 8), 1.0, torch.Generator().manual_seed(0))
        >>> one.shape, bool((one[0] == one[1]).all())
        (torch.Size([2, 1, 8, 8]), False)
    """
    if strength == 0:
        return images
    turn, shear, across, down, wide, high = strength * (
        2 * torch.rand(6, len(images), generator=generator) - 1
    )
    cos, sin = (TURN * turn).cos(), (TURN * turn).sin()
    rows = (
        torch.stack([cos * (1 + SCALE * wide), SHEAR * shear - sin, SHIFT * across], -1),
        torch.stack([sin, cos * (1 + SCALE * high), SHIFT * down], -1),
    )
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
