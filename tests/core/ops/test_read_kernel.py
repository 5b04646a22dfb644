"""The kernel that reads in one pass gives what plain attention gives."""

import pytest
import torch

from recollect import VectorStorage
from recollect.ops.attention import l2_normalize
from recollect.ops.read_attention import read_attention

pytest.importorskip("triton")
from recollect.ops.read_kernel import read_kernel

# Of the interpreter of earlier Tritons.
pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning")


def store(batch, entries, key_size, value_size, device):
    generator = torch.Generator().manual_seed(0)
    keys, values = (
        torch.randn(*batch, entries, size, generator=generator) for size in (key_size, value_size)
    )
    presence = torch.rand(*batch, entries, generator=generator)
    presence[..., ::3] = 0
    return keys.to(device), values.to(device), presence.to(device)


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize(
    ("batch", "queries", "entries", "key_size", "value_size"),
    [((), 1, 1, 4, 2), ((), 70, 130, 16, 16), ((2,), 3, 65, 5, 20), ((2, 2), 2, 40, 8, 3)],
    ids=str,
)
def test_it_gives_what_attention_gives(batch, queries, entries, key_size, value_size, cosine):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    keys, values, presence = store(batch, entries, key_size, value_size, device)
    presence[..., 0] = 0.5
    query = torch.randn(*batch, queries, key_size, generator=torch.Generator().manual_seed(1)).to(device)
    query = l2_normalize(query) * 3 if cosine else query
    expected = read_attention(query, l2_normalize(keys) if cosine else keys, values, presence)
    spoiled = (rows.masked_fill(presence.unsqueeze(-1) <= 0, torch.nan) for rows in (keys, values))
    found = read_kernel(query, *spoiled, presence, cosine)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_an_empty_store_reads_zero():
    device = "cuda" if torch.cuda.is_available() else "cpu"
    keys, values, presence = store((2,), 70, 8, 4, device)
    query = torch.randn(2, 3, 8, device=device)
    assert not read_kernel(query, keys, values, torch.zeros_like(presence), False).any()


@pytest.mark.gpu
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_a_read_on_a_gpu_uses_it(similarity):
    storage = VectorStorage(64, 64, slots=5000, similarity=similarity).cuda()
    state = storage.write(storage.initial_state(), torch.randn(4000, 64).cuda(), torch.randn(4000, 64).cuda())
    query = torch.randn(7, 64).cuda()
    with torch.no_grad():
        alone = storage.read(state, query, need_weights=False).value
        torch.testing.assert_close(alone, storage.read(state, query).value, rtol=1e-3, atol=1e-4)
