"""Keys as codes: what every engine must do holds, and each codec keeps what it promises."""

import pytest
import torch

from recollect.storages.codecs import PCA, Codec, Float32, Int8, ProductQuantizer
from recollect.storages.packed import PackedStorage
from recollect.storages.packed_engine import PackedEngine
from recollect.testing import ENGINE_CHECKS

K = 16


def clustered(count: int, seed: int = 0) -> torch.Tensor:
    """Keys of 4 dimensions, turned into 16, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(K, K, generator=torch.Generator().manual_seed(9)))[0][:4]
    return torch.randn(count, 4, generator=generator) @ turn + 0.01 * torch.randn(
        count, K, generator=generator
    )


CODECS = {
    "float32": (lambda: Float32(K), 64, 0.0),
    "int8": (lambda: Int8(K), 16, 0.02),
    "pca": (lambda: PCA(K, 4), 4, 0.05),
    "pca and floats": (lambda: PCA(K, 4, Float32(4)), 16, 0.05),
    "product": (lambda: ProductQuantizer(K, 8), 8, 0.4),
}


@pytest.mark.parametrize("name", ENGINE_CHECKS)
def test_an_engine_of_plain_floats_is_an_engine(name):
    ENGINE_CHECKS[name](lambda metric: PackedEngine(Float32(4), 2, metric))


@pytest.mark.parametrize(("make", "size", "error"), CODECS.values(), ids=CODECS)
def test_codes_are_small_and_keys_come_back(make, size, error):
    codec, keys = make().fit(clustered(1000)), clustered(300, seed=1)
    codes = codec.encode(keys)
    assert codes.shape == (300, size)
    assert codes.dtype == torch.uint8
    lost = (codec.decode(codes) - keys).norm(dim=-1) / keys.norm(dim=-1).mean()
    assert lost.mean() <= error


@pytest.mark.parametrize(("make", "size", "error"), CODECS.values(), ids=CODECS)
def test_the_nearest_rows_are_mostly_found(make, size, error):
    keys, queries = clustered(2000), clustered(100, seed=1)
    engine = PackedEngine(make().fit(keys), 1)
    engine.add(keys, torch.zeros(2000, 1))
    exact = torch.cdist(queries, keys).topk(10, largest=False).indices
    found = engine.search(queries, 10).rows
    share = (found.unsqueeze(-1) == exact.unsqueeze(-2)).any(-1).float().mean()
    assert share >= {64: 1.0, 16: 0.85, 4: 0.7, 8: 0.4}[size]
    assert engine.code_bytes == 2000 * size


def test_a_codec_is_saved_with_what_it_was_fitted_to():
    codec = ProductQuantizer(K, 8).fit(clustered(1000))
    other = ProductQuantizer(K, 8)
    other.load_state_dict(codec.state_dict())
    keys = clustered(50, seed=1)
    assert torch.equal(other.encode(keys), codec.encode(keys))


def test_a_purge_leaves_no_codes():
    keys = clustered(300)
    engine = PackedEngine(Int8(K).fit(keys), 1)
    rows = engine.add(keys, torch.zeros(300, 1), ["a", "b", "c"] * 100)
    before = engine.nbytes
    assert engine.erase(rows[::3], purge=True) == 100
    assert engine.nbytes == before * 2 / 3
    assert engine.sources() == {"b": 100, "c": 100}
    assert torch.equal(engine.search(keys[1:2], 1).rows, rows[1:2].unsqueeze(0))


def test_bad_input():
    codec: Codec = Int8(K)
    with pytest.raises(ValueError, match="must be fitted"):
        codec.encode(clustered(3))
    with pytest.raises(ValueError, match=r"shape \(n, 16\), got \(3, 5\)"):
        codec.fit(torch.zeros(3, 5))
    with pytest.raises(ValueError, match="at least 256 keys, got 100"):
        ProductQuantizer(K, 4).fit(clustered(100))
    with pytest.raises(ValueError, match="parts must divide the width 16, got 5"):
        ProductQuantizer(K, 5)
    with pytest.raises(ValueError, match="between 1 and 16, got 17"):
        PCA(K, 17)
    with pytest.raises(ValueError, match="4 components is made for 5"):
        PCA(K, 4, Float32(5))
    storage = PackedStorage(codec, 1)
    with pytest.raises(ValueError, match="must be fitted"):
        storage.write(storage.initial_state(), clustered(3), torch.zeros(3, 1))
    assert storage.engine.count() == 0
