"""Activation checkpointing of augmented models: the same gradients, or a clear refusal."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from recollect import (
    Concatenation,
    Fusion,
    MemoryNetwork,
    Parallel,
    VectorStorage,
    augment,
    carry,
    recomputing,
)
from recollect.testing.trial import leaves

D = 8


class Block(nn.Module):
    """A layer that is called twice, perhaps under ``checkpoint``, and another."""

    def __init__(self, **how: object):
        super().__init__()
        self.first, self.second, self.how = nn.Linear(D, D), nn.Linear(D, D), how

    def forward(self, x):
        for _ in range(2):
            x = checkpoint(self.first, x, **self.how) if self.how else self.first(x)
        return self.second(x.relu())


def opened(integration, **how: object) -> nn.Module:
    """An augmented block whose memory has a say already."""
    torch.manual_seed(0)
    model = augment(
        Block(**how),
        at="first",
        memory=lambda d: MemoryNetwork(d, VectorStorage(d, d, slots=9), hops=1, write_on_forward=True),
        integration=integration,
        layout="btd",
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


def run(model: nn.Module, call=None):
    """Two calls that go on from one another with padding, and their gradients."""
    torch.manual_seed(1)
    x = torch.randn(2, 3, D, requires_grad=True)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    with carry(model, mask=mask) as session:
        call = call or model
        loss = call(x).square().sum() + call(x).square().sum()
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [
        loss.detach(),
        x.grad,
        *gradients,
        *map(torch.Tensor.detach, leaves(tuple(session.state.values()))),
    ]


@pytest.mark.parametrize("integration", [Fusion, Parallel, Concatenation])
def test_gradients_are_those_without_checkpointing(integration):
    expected = run(opened(integration))
    part = run(opened(integration, use_reentrant=False, context_fn=recomputing))
    model = opened(integration)
    whole = run(model, lambda x: checkpoint(model, x, use_reentrant=False, context_fn=recomputing))
    for found in (part, whole):
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_a_graph_that_is_retained_is_recomputed_alike():
    model = opened(Parallel, use_reentrant=False, context_fn=recomputing)
    loss = model(torch.randn(2, 3, D)).square().sum()
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    first, second = (
        torch.autograd.grad(loss, learned, retain_graph=True, materialize_grads=True) for _ in range(2)
    )
    assert sum(gradient.any() for gradient in first) > len(learned) // 2
    torch.testing.assert_close(second, first)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_without_the_states_it_had_it_is_refused(use_reentrant: bool):
    model = opened(Parallel, use_reentrant=use_reentrant)
    loss = model(torch.randn(2, 3, D, requires_grad=True)).sum()
    with pytest.raises(RuntimeError, match=r"context_fn=recollect\.recomputing"):
        loss.backward()
