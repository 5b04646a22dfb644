"""A model with a lasting memory is compiled and exported whole, and its gate learns in an ordinary loop."""

import pytest
import torch
from torch import nn

from recollect import VectorStorage, memory_parameters, remember

D, CLASSES = 8, 5


@pytest.fixture
def model(make_model):
    """A model with some rows and a gate that has opened."""
    model = make_model(VectorStorage(D, 1, slots=64), gate="adaptive")
    remember(model, torch.randn(6, 3), torch.arange(6) % CLASSES)
    nn.init.constant_(model[2].memory.gate.last.bias, 0.5)
    return model


def test_compiled_in_one_graph(model):
    x = torch.randn(4, 3)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))
    remember(model, x, torch.arange(4))
    torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.filterwarnings("ignore:While compiling, we found certain side effects:UserWarning")
def test_exported(model):
    x = torch.randn(4, 3)
    exported = torch.export.export(model, (x,), strict=True)
    torch.testing.assert_close(exported.module()(x), model(x))


def test_every_parameter_that_learns_moves(make_model):
    model = make_model(VectorStorage(D, 1, slots=64), gate="adaptive")
    remember(model, torch.randn(6, 3), torch.arange(6) % CLASSES)
    learned = [parameter for parameter in memory_parameters(model) if parameter.requires_grad]
    before = [parameter.clone() for parameter in learned]
    optimizer = torch.optim.Adam(learned)
    for _ in range(4):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(torch.randn(6, 3)), torch.randint(CLASSES, (6,)))
        loss.backward()
        optimizer.step()
    assert all((parameter != old).any() for parameter, old in zip(learned, before, strict=True))
    assert len(learned) == 4
