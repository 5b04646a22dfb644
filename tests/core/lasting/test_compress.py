"""Smaller memories answer nearly as before, and cite as before."""

import pytest
import torch

from recollect import VectorStorage, compress, explain, forget, provenance, prune, remember
from recollect.storages.codecs import PCA, Float32, Int8

D, CLASSES = 8, 5


def filled(make_model, count=200):
    """A model that remembers rows of three classes, in clusters."""
    model = make_model(VectorStorage(D, 1, slots=512))
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % 3
    x = 2 * torch.eye(3)[y] + 0.1 * torch.randn(count, 3, generator=generator)
    remember(model, x, y, source=["even" if item % 2 == 0 else "odd" for item in range(count)])
    return model, x, y


@pytest.mark.parametrize(("codec", "share"), [(Float32(D), 1), (Int8(D), 1 / 4), (PCA(D, 4), 1 / 8)])
def test_compressed_rows_answer_and_cite(make_model, codec, share):
    model, x, y = filled(make_model)
    before = model(x).argmax(-1)
    times = [one.citations[0].time for one in explain(model)]
    report = compress(model, codec)
    assert report == (200, 4 * D * 200, 4 * D * 200 * share)
    assert torch.equal(model(x).argmax(-1), before)
    assert provenance(model) == {"2": {"even": 100, "odd": 100}}
    assert [one.citations[0].time for one in explain(model)] == times
    with torch.no_grad():
        model[0].weight += 1
    with pytest.raises(ValueError, match="holds keys of the model"):
        remember(model, x, y)
    assert forget(model, source="odd") == 100


def test_pruned_rows_answer_as_before(make_model):
    model, x, _y = filled(make_model)
    before = model(x).argmax(-1)
    assert 100 < prune(model, k=8) < 200
    assert torch.equal(model(x).argmax(-1), before)
    assert sum(provenance(model)["2"].values()) < 100


def test_bad_input(make_model):
    model, _x, _ = filled(make_model)
    with pytest.raises(ValueError, match=r"shape \(n, 4\), got \(200, 8\)"):
        compress(model, Int8(4))
    with pytest.raises(ValueError, match="k must be at least 1"):
        prune(model, k=0)
    assert provenance(model) == {"2": {"even": 100, "odd": 100}}
