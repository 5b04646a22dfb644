"""Whitening of features by their covariance within classes."""

from typing import final

import torch
from torch import Tensor, nn


@final
class ClassWhitening(nn.Module):
    """z = (Σ + ε v I)^(−½) (x − μ), for Σ the covariance within classes and v the mean of its variances.

    Features of a trained classifier vary within classes along a few directions and hardly at all along
    others, where images of a new class stand out. Euclidean distances of z are Mahalanobis distances, which
    Lee et al. 2018 (arXiv:1807.03888, section 2.1) use for out-of-distribution detection. One Σ for all
    classes is Fisher's assumption, ε is the regularisation of Friedman (1989). μ is the mean of the class
    means. Before ``fit``, z = x.

    Args:
        size: Feature size D.
        shrinkage: Regularisation ε.

    Raises:
        ValueError: If ``shrinkage`` is not positive.

    Example:
        >>> features = torch.randn(200, 2) * torch.tensor([5.0, 0.1])
        >>> whitening = ClassWhitening(2, shrinkage=1e-6)
        >>> whitening.fit(features, torch.zeros(200, dtype=torch.int64))
        >>> whitening(features).std(0, correction=0).round(decimals=2)
        tensor([1., 1.])
    """

    mean: Tensor
    transform: Tensor

    def __init__(self, size: int, shrinkage: float = 0.1) -> None:
        super().__init__()
        if shrinkage <= 0:
            raise ValueError(f"shrinkage must be positive, got {shrinkage}")
        self.shrinkage = shrinkage
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("transform", torch.eye(size))

    @torch.no_grad()
    def fit(self, features: Tensor, label: Tensor) -> None:
        """Estimate μ and Σ from features ``(N, D)`` of classes ``(N,)``.

        A class with a single feature adds nothing to Σ. If Σ = 0, z = x − μ.
        """
        classes, row = label.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        wide = features.double()
        member = torch.nn.functional.one_hot(row, len(classes)).to(wide)
        means = member.T @ wide / member.sum(0).unsqueeze(1)
        centred = wide - means[row]
        values, directions = torch.linalg.eigh(centred.T @ centred / len(wide))
        floor = self.shrinkage * values.clamp_min(0).mean()
        scale = (values.clamp_min(0) + floor).rsqrt() if floor > 0 else torch.ones_like(values)
        self.mean.copy_(means.mean(0))
        self.transform.copy_(directions * scale @ directions.T)

    def forward(self, features: Tensor) -> Tensor:
        """Whiten features ``(…, D)``."""
        return (features - self.mean) @ self.transform
