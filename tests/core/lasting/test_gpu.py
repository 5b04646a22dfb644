"""A lasting memory of a model on a GPU, with rows on the GPU or outside the process."""

import pytest
import torch
from torch import nn

from recollect import VectorStorage, compress, explain, fit_gate, forget, prune, remember
from recollect.storages.codecs import Int8

D, CLASSES = 8, 5


@pytest.mark.gpu
@pytest.mark.parametrize("gate", ["fitted", "adaptive"])
def test_a_model_on_a_gpu(make_model, make_storage, gate):
    model = make_model(make_storage(), gate=gate, k=2).cuda()
    x = torch.randn(24, 3, generator=torch.Generator().manual_seed(0)).cuda()
    y = torch.arange(24).cuda() % CLASSES
    assert remember(model, x, y, ["a", "b"] * 12).is_cuda
    assert fit_gate(model, [(x, y)], ks=(1, 2)).helps
    assert torch.equal(model(x).argmax(-1), y)
    assert explain(model)[1].citations[0].source == "b"
    assert forget(model, source="a") == 12
    assert nn.functional.cross_entropy(model(x), y).isfinite()


@pytest.mark.gpu
def test_a_compressed_memory_on_a_gpu(make_model):
    model = make_model(VectorStorage(D, 1, slots=64), k=1).cuda()
    x, y = torch.randn(24, 3).cuda(), torch.arange(24).cuda() % CLASSES
    remember(model, x, y)
    prune(model, 2)
    compress(model, Int8(D))
    assert model(x).is_cuda
