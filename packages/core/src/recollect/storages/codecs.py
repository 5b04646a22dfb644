"""Codes of keys: fewer bytes for each, at the price of some precision."""

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor, nn

from recollect.ops.kmeans import kmeans, nearest_centroid
from recollect.validation import check_positive

SAMPLE = 100_000
"""Keys at most that a codec is fitted on."""


class Codec(nn.Module, ABC):
    """Turns keys ``(n, K)`` into codes of a few bytes and back. What it is fitted to are buffers.

    Args:
        key_size: Width K of the keys.

    Raises:
        ValueError: If it is not positive.
    """

    fitted: Tensor

    def __init__(self, key_size: int) -> None:
        super().__init__()
        check_positive(key_size=key_size)
        self.key_size = key_size
        self.register_buffer("fitted", torch.tensor(False))

    @property
    @abstractmethod
    def code_size(self) -> int:
        """Number of bytes of a code."""

    @abstractmethod
    def _fit(self, keys: Tensor) -> None:
        """Fit the buffers to keys ``(n, K)`` float32."""

    @abstractmethod
    def _encode(self, keys: Tensor) -> Tensor:
        """Return codes ``(n, bytes)`` uint8."""

    @abstractmethod
    def _decode(self, codes: Tensor) -> Tensor:
        """Return keys ``(n, K)`` float32."""

    @torch.no_grad()
    def fit(self, keys: Tensor) -> "Codec":
        """Fit the codec to keys ``(n, K)``, of which a sample is used, and return it.

        Raises:
            ValueError: If they have another width, or there are too few.
        """
        self._check(keys)
        if len(keys) > SAMPLE:
            keys = keys[
                torch.randperm(len(keys), generator=torch.Generator("cpu").manual_seed(0), device="cpu")[
                    :SAMPLE
                ]
            ]
        self._fit(keys.detach().float())
        self.fitted.fill_(True)
        return self

    @torch.no_grad()
    def encode(self, keys: Tensor) -> Tensor:
        """Return the codes ``(n, bytes)`` uint8 of keys ``(n, K)``.

        Raises:
            ValueError: If the keys have another width or the codec was not fitted.
        """
        self._check(keys)
        if not self.fitted:
            raise ValueError(f"{type(self).__name__} must be fitted to keys first: codec.fit(keys)")
        return self._encode(keys.detach().float())

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Return the keys ``(n, K)`` float32 of codes ``(n, bytes)``."""
        return self._decode(codes)

    def _check(self, keys: Tensor) -> None:
        if keys.dim() != 2 or keys.shape[-1] != self.key_size:
            raise ValueError(f"keys must have shape (n, {self.key_size}), got {tuple(keys.shape)}")

    def extra_repr(self) -> str:
        """The sizes, for ``repr``."""
        return f"key_size={self.key_size}, code_size={self.code_size}"


@final
class Float32(Codec):
    """Keys as they are: 4 K bytes."""

    def __init__(self, key_size: int) -> None:
        super().__init__(key_size)
        self.fitted.fill_(True)

    @property
    def code_size(self) -> int:
        """See ``Codec.code_size``."""
        return 4 * self.key_size

    def _fit(self, keys: Tensor) -> None:
        """Nothing is fitted."""

    def _encode(self, keys: Tensor) -> Tensor:
        return keys.contiguous().view(torch.uint8)

    def _decode(self, codes: Tensor) -> Tensor:
        return codes.contiguous().view(torch.float32)


@final
class Int8(Codec):
    """Scalar quantisation: each number as one of 256 steps between the extremes of its dimension, K bytes.

    Example:
        >>> codec = Int8(2).fit(torch.tensor([[0.0, -1.0], [255.0, 1.0]]))
        >>> codec.decode(codec.encode(torch.tensor([[3.2, 2.0]])))
        tensor([[3., 1.]])
    """

    low: Tensor
    step: Tensor

    def __init__(self, key_size: int) -> None:
        super().__init__(key_size)
        self.register_buffer("low", torch.zeros(key_size))
        self.register_buffer("step", torch.ones(key_size))

    @property
    def code_size(self) -> int:
        """See ``Codec.code_size``."""
        return self.key_size

    def _fit(self, keys: Tensor) -> None:
        low, high = keys.aminmax(dim=0)
        self.low.copy_(low)
        self.step.copy_(((high - low) / 255).clamp_min(torch.finfo(torch.float32).tiny))

    def _encode(self, keys: Tensor) -> Tensor:
        return ((keys - self.low) / self.step).round().clamp(0, 255).to(torch.uint8)

    def _decode(self, codes: Tensor) -> Tensor:
        return codes.float() * self.step + self.low


@final
class PCA(Codec):
    """Principal components, each as one byte or more by another codec: R bytes with ``Int8``.

    Args:
        key_size: Width K of the keys.
        components: Number R of components, K at most.
        then: Codec of the components, R wide; ``Int8`` by default.

    Raises:
        ValueError: If an argument is out of range.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, key_size: int, components: int, then: Codec | None = None) -> None:
        super().__init__(key_size)
        if not 1 <= components <= key_size:
            raise ValueError(f"components must be between 1 and {key_size}, got {components}")
        self.then = Int8(components) if then is None else then
        if self.then.key_size != components:
            raise ValueError(f"the codec of {components} components is made for {self.then.key_size}")
        self.register_buffer("mean", torch.zeros(key_size))
        self.register_buffer("basis", torch.zeros(key_size, components))

    @property
    def code_size(self) -> int:
        """See ``Codec.code_size``."""
        return self.then.code_size

    def _fit(self, keys: Tensor) -> None:
        components = self.basis.shape[1]
        if len(keys) < 2:
            raise ValueError(f"principal components need at least 2 keys, got {len(keys)}")
        self.mean.copy_(keys.mean(0))
        centred = (keys - self.mean).double()
        values, vectors = torch.linalg.eigh(centred.T @ centred)
        self.basis.copy_(vectors[:, values.argsort(descending=True)[:components]])
        self.then.fit((keys - self.mean) @ self.basis)

    def _encode(self, keys: Tensor) -> Tensor:
        return self.then.encode((keys - self.mean) @ self.basis)

    def _decode(self, codes: Tensor) -> Tensor:
        return self.then.decode(codes) @ self.basis.T + self.mean


@final
class ProductQuantizer(Codec):
    """Product quantisation (Jégou et al. 2011, IEEE TPAMI 33:117): M parts of a key as numbers of centroids.

    Each part has 256 centroids, so that a code has M bytes.

    Args:
        key_size: Width K of the keys, a multiple of M.
        parts: M.

    Raises:
        ValueError: If an argument is out of range.
    """

    centroids: Tensor

    def __init__(self, key_size: int, parts: int) -> None:
        super().__init__(key_size)
        check_positive(parts=parts)
        if key_size % parts:
            raise ValueError(f"parts must divide the width {key_size}, got {parts}")
        self.parts = parts
        self.register_buffer("centroids", torch.zeros(parts, 256, key_size // parts))

    @property
    def code_size(self) -> int:
        """See ``Codec.code_size``."""
        return self.parts

    def _fit(self, keys: Tensor) -> None:
        if len(keys) < 256:
            raise ValueError(f"product quantisation needs at least 256 keys, got {len(keys)}")
        for part, rows in enumerate(keys.chunk(self.parts, -1)):
            self.centroids[part] = kmeans(rows, 256)

    def _encode(self, keys: Tensor) -> Tensor:
        columns = zip(keys.chunk(self.parts, -1), self.centroids, strict=True)
        return torch.stack([nearest_centroid(rows, table)[0] for rows, table in columns], -1).to(torch.uint8)

    def _decode(self, codes: Tensor) -> Tensor:
        columns = zip(codes.long().unbind(-1), self.centroids, strict=True)
        return torch.cat([table[column] for column, table in columns], -1)
