"""Sessions: who continues from whom, batches of other sizes, truncated gradients."""

import asyncio
import gc
from contextlib import ExitStack, contextmanager

import pytest
import torch
from torch import nn

from recollect import Concatenation, MemoryNetwork, VectorStorage, augment, carry

D = 6


def make_memory(width):
    return MemoryNetwork(width, VectorStorage(width, width, slots=9), hops=1, write_on_forward=True)


def make_model(memory=make_memory):
    torch.manual_seed(0)
    model = augment(nn.Sequential(nn.Linear(D, D), nn.Linear(D, 2)), "0", memory)
    with torch.no_grad():
        model[0].memory.out_proj.weight.normal_()
    return model


def stream(model, xs):
    with carry(model):
        for x in xs:
            yield model(x)


@contextmanager
def managed(model):
    with carry(model) as session:
        yield session


@pytest.fixture
def model():
    return make_model().eval()


@pytest.fixture
def xs():
    return torch.randn(4, 3, D, generator=torch.Generator().manual_seed(0))


def test_a_suspended_generator_keeps_its_session_to_itself(model, xs):
    fresh = [model(x) for x in xs]
    expected = list(stream(model, xs))
    generator = stream(model, xs)
    found = []
    for x, alone in zip(xs, fresh, strict=True):
        found.append(next(generator))
        assert torch.equal(model(x), alone)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert not torch.equal(expected[1], fresh[1])
    generator.close()
    assert torch.equal(model(xs[0]), fresh[0])


def test_generators_in_turns_do_not_mix(model, xs):
    expected = list(stream(model, xs)), list(stream(model, xs.flip(0)))
    first, second = stream(model, xs), stream(model, xs.flip(0))
    found = [], []
    for _ in xs:
        found[0].append(next(first))
        found[1].append(next(second))
    assert list(first) == []  # closes the session that was opened first
    assert torch.equal(model(xs[0]), expected[0][0])
    assert list(second) == []
    for one, other in zip(found, expected, strict=True):
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))
    assert torch.equal(model(xs[0]), expected[0][0])


def test_a_generator_inside_a_session_goes_on_from_it(model, xs):
    def outputs():
        for x in xs:
            yield model(x)

    expected = list(stream(model, xs))
    with carry(model):
        found = list(outputs())
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_a_generator_that_is_forgotten_leaves_nothing(model, xs):
    fresh = model(xs[1])
    generator = stream(model, xs)
    next(generator)
    del generator
    gc.collect()
    assert torch.equal(model(xs[1]), fresh)


def test_context_managers_hand_the_session_on(model, xs):
    expected = list(stream(model, xs))
    with managed(model):
        model(xs[0])
        assert torch.equal(model(xs[1]), expected[1])
    with ExitStack() as stack:
        stack.enter_context(carry(model))
        model(xs[0])
        assert torch.equal(model(xs[1]), expected[1])

    def within():
        with managed(model):
            for x in xs:
                yield model(x)

    generator = within()
    next(generator)
    assert torch.equal(model(xs[1]), make_model().eval()(xs[1]))
    assert torch.equal(next(generator), expected[1])


def test_tasks_do_not_share_a_session(model, xs):
    expected = list(stream(model, xs))

    async def walk():
        found = []
        with carry(model):
            for x in xs:
                found.append(model(x))
                await asyncio.sleep(0)
        return found

    async def both():
        return await asyncio.gather(walk(), walk())

    for found in asyncio.run(both()):
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_a_last_smaller_batch_goes_on_after_select(model, xs):
    with carry(model) as session:
        model(xs[0])
        with pytest.raises(
            ValueError, match=r"0: the state has 3 batch items and the input 2: .*arange\(2\)"
        ):
            model(xs[1][:2])
        session.select(torch.arange(2))
        found = model(xs[1][:2])
    with carry(model):
        model(xs[0])
        assert torch.equal(model(xs[1])[:2], found)


@pytest.mark.parametrize("every", [1, 2, 3, None])
def test_gradients_reach_back_to_the_last_detached_call(model, xs, every):
    inputs = [x.clone().requires_grad_() for x in xs]
    with carry(model, detach_every=every):
        y = [model(x) for x in inputs][-1]
    y.sum().backward()
    reached = [x.grad is not None and bool(x.grad.any()) for x in inputs]
    first = 0 if every is None else 3 // every * every
    assert reached == [index >= first for index in range(4)]
    with carry(model):
        assert torch.equal(y, [model(x) for x in xs][-1])
    with (
        pytest.raises(ValueError, match="detach_every must be at least 1, got 0"),
        carry(model, detach_every=0),
    ):
        pass


def test_a_call_counts_once_however_many_models_it_goes_through(xs):
    inner = make_model()
    outer = augment(nn.Sequential(inner, nn.Linear(2, 2)), "1", make_memory)
    inputs = [x.clone().requires_grad_() for x in xs]
    with carry(outer, detach_every=2):
        y = [outer(x) for x in inputs][2]
    y.sum().backward()
    assert [x.grad is not None for x in inputs] == [False, False, True, False]


def test_a_state_of_another_model_is_refused(model):
    with (
        pytest.raises(ValueError, match="no layer nowhere has a memory; the layers with a memory are 0"),
        carry(model, {"nowhere": ()}),
    ):
        pass
    assert isinstance(model[0].memory, Concatenation)
