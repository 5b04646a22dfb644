"""Hash functions for keys: random projections for real vectors, multiply-shift for integers."""

import torch
from torch import Tensor


def hash_planes(key_size: int, tables: int, bits: int, seed: int) -> Tensor:
    """Normals of random hyperplanes for ``sign_hash``: ``(tables, bits, K)`` int16, set by the seed.

    They are Gaussian, scaled and rounded to integers, so that ``module.half()`` does not change the hash.

    Example:
        >>> hash_planes(key_size=8, tables=2, bits=3, seed=0).shape
        torch.Size([2, 3, 8])
    """
    generator = torch.Generator().manual_seed(seed)
    gaussian = torch.randn(tables, bits, key_size, generator=generator, device="cpu")
    planes = (gaussian * 2048).round().to(torch.int16)  # int16 ends at 16 standard deviations
    return planes.to(torch.get_default_device())


def sign_hash(key: Tensor, planes: Tensor) -> Tensor:
    """Signed random projections (SimHash): bit b of the bucket is the side of hyperplane b the key is on.

    Two keys at angle θ share a bucket with probability (1 − θ/π)^bits (Charikar 2002, "Similarity estimation
    techniques from rounding algorithms", section 3). Several independent tables raise the probability that
    similar keys meet in one of them (Andoni and Indyk 2008, "Near-optimal hashing algorithms for approximate
    nearest neighbor in high dimensions"). The length of a key does not matter.

    Args:
        key: ``(…, W, K)`` floating point.
        planes: ``(tables, bits, K)`` as returned by ``hash_planes``.

    Returns:
        ``(…, W, tables)`` int64 in [0, 2**bits).

    Example:
        >>> planes = hash_planes(key_size=2, tables=1, bits=4, seed=0)
        >>> key = torch.tensor([[1.0, 2.0]])
        >>> bool((sign_hash(key, planes) == sign_hash(3 * key, planes)).all())
        True
    """
    # The rounding of a matrix product depends on its shape, but a key must hash alike alone and in a batch.
    # In double precision, rounding is too small to change a sign.
    wide = torch.float32 if key.device.type == "mps" else torch.float64
    with torch.autocast(key.device.type, enabled=False):
        normals = planes.flatten(0, 1).to(key.device, wide)
        sides = key.detach().to(wide) @ normals.mT > 0
    powers = 1 << torch.arange(planes.shape[1], device=key.device)
    return (sides.view(*key.shape[:-1], *planes.shape[:2]) * powers).sum(-1)


def hash_multipliers(key_size: int, tables: int, seed: int) -> Tensor:
    """Random 64-bit factors for ``multiply_shift_hash``: ``(tables, 2 · K + 1)`` int64, set by the seed.

    Example:
        >>> hash_multipliers(key_size=3, tables=2, seed=0).shape
        torch.Size([2, 7])
    """
    generator = torch.Generator().manual_seed(seed)
    bounds = torch.iinfo(torch.int64)
    shape = (tables, 2 * key_size + 1)
    factors = torch.randint(bounds.min, bounds.max, shape, generator=generator, device="cpu")
    return factors.to(torch.get_default_device())


def multiply_shift_hash(key: Tensor, multipliers: Tensor, bits: int) -> Tensor:
    """Multiplicative hashing of integers and n-grams: the top bits of (Σ aᵢ · xᵢ + b) mod 2⁶⁴.

    Each 64-bit integer is split into two halves xᵢ of 32 bits, which makes the family strongly universal: two
    different keys share a bucket with probability 2^−bits (multiplicative hashing: Knuth 1973, The Art of
    Computer Programming, vol. 3, section 6.4; this family: Dietzfelbinger 1996, "Universal hashing and k-wise
    independent random variables via integer arithmetic without primes"; for vectors: Thorup 2015,
    arXiv:1504.06804).

    Args:
        key: ``(…, W, K)`` integer; K numbers make one key, as in an n-gram.
        multipliers: ``(tables, 2 · K + 1)`` as returned by ``hash_multipliers``.
        bits: Number of bits of a bucket index, at most 32.

    Returns:
        ``(…, W, tables)`` int64 in [0, 2**bits).

    Example:
        >>> multipliers = hash_multipliers(key_size=2, tables=1, seed=0)
        >>> bigrams = torch.tensor([[7, 9], [9, 7]])
        >>> multiply_shift_hash(bigrams, multipliers, bits=20).unique().numel()
        2
    """
    key, multipliers = key.to(torch.int64), multipliers.to(key.device)
    halves = torch.cat([key & 0xFFFFFFFF, (key >> 32) & 0xFFFFFFFF], -1).unsqueeze(-2)
    mixed = (halves * multipliers[:, :-1]).sum(-1) + multipliers[:, -1]
    # The shift is arithmetic; the mask removes the copies of the sign bit.
    return (mixed >> (64 - bits)) & ((1 << bits) - 1)
