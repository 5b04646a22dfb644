"""Hash functions: alike goes together, different goes apart, and nothing but the key matters."""

import math

import pytest
import torch

from recollect.ops.hashing import hash_multipliers, hash_planes, multiply_shift_hash, sign_hash


@pytest.mark.parametrize("angle", [0.2, 0.8, math.pi / 2])
def test_vectors_share_a_bucket_with_the_probability_of_their_angle(angle: float):
    bits, tables = 3, 4000
    planes = hash_planes(6, tables, bits, seed=1)
    first, orthogonal = torch.linalg.qr(torch.randn(6, 2, generator=torch.Generator().manual_seed(0)))[0].mT
    second = math.cos(angle) * first + math.sin(angle) * orthogonal
    codes = sign_hash(torch.stack([first, second]), planes)
    expected = (1 - angle / math.pi) ** bits
    spread = 4 * math.sqrt(expected * (1 - expected) / tables)
    assert (codes[0] == codes[1]).float().mean().item() == pytest.approx(expected, abs=spread)


def test_a_key_hashes_alike_alone_and_among_others():
    planes = hash_planes(33, tables=5, bits=12, seed=0)
    keys = torch.randn(3, 400, 33, generator=torch.Generator().manual_seed(0))
    together = sign_hash(keys, planes)
    alone = torch.stack([sign_hash(keys[:, n : n + 1], planes)[:, 0] for n in range(400)], 1)
    assert torch.equal(together, alone)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sign_hash(keys, planes), together)


def test_the_length_of_a_key_does_not_matter_and_its_sign_does():
    planes = hash_planes(8, tables=2, bits=10, seed=0)
    keys = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sign_hash(keys, planes), sign_hash(keys * 2.0**-20, planes))
    assert torch.equal(sign_hash(keys, planes) + sign_hash(-keys, planes), torch.full((50, 2), 1023))


@pytest.mark.parametrize("bits", [0, 1, 10])
def test_all_buckets_are_in_range(bits: int):
    real = sign_hash(torch.randn(100, 4), hash_planes(4, 2, bits, seed=0))
    whole = multiply_shift_hash(torch.randint(-(2**62), 2**62, (100, 4)), hash_multipliers(4, 2, 0), bits)
    for codes in (real, whole):
        assert codes.shape == (100, 2)
        assert codes.dtype == torch.int64
        assert int(codes.min()) >= 0
        assert int(codes.max()) < 2**bits


@pytest.mark.parametrize("step", [1, 1024, 2**32, 2**48, -(2**55)])
def test_regular_integers_are_spread_over_the_buckets(step: int):
    bits, count = 8, 4096
    keys = (torch.arange(count) % 128 * step + torch.arange(count) // 128).unsqueeze(-1)
    keys = torch.cat([keys, -keys], -1).unique(dim=0)
    codes = multiply_shift_hash(keys, hash_multipliers(2, 32, seed=0), bits)
    together = torch.stack([column.bincount(minlength=2**bits) for column in codes.T]).double()
    pairs = (together * (together - 1)).sum(-1).mean().item() / (len(keys) * (len(keys) - 1))
    assert pairs * 2**bits < 1.5  # a strongly universal family has 1 on average


def test_an_n_gram_is_hashed_in_its_order():
    multipliers = hash_multipliers(3, 1, seed=0)
    codes = multiply_shift_hash(torch.tensor([[1, 2, 3], [3, 2, 1], [2, 1, 3]]), multipliers, bits=24)
    assert codes.unique().numel() == 3


def test_the_seed_fixes_the_hash():
    assert torch.equal(hash_planes(4, 2, 3, seed=5), hash_planes(4, 2, 3, seed=5))
    assert not torch.equal(hash_planes(4, 2, 3, seed=5), hash_planes(4, 2, 3, seed=6))
    assert torch.equal(hash_multipliers(4, 2, seed=5), hash_multipliers(4, 2, seed=5))
    assert not torch.equal(hash_multipliers(4, 2, seed=5), hash_multipliers(4, 2, seed=6))
