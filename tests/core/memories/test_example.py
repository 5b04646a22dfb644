"""What is written is read by class, what is erased is gone, and padding changes nothing."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recollect import (
    HashStorage,
    Interpolation,
    VectorStorage,
    augment,
    explain,
    forget,
    remember,
    without_memory,
)
from recollect.memories.example import MIN_LOG_PROBABILITY, ExampleMemory, prototype_similarity
from recollect.storages.external import ExternalStorage
from recollect.testing import ListEngine

READINGS = [("matching", "cosine"), ("prototypes", "cosine"), ("prototypes", "euclidean")]


def memory(reading: str = "matching", similarity: str = "cosine", **options) -> ExampleMemory:
    storage = VectorStorage(8, 4, slots=12, **options)
    return ExampleMemory(storage, reading, similarity, sharpness=20.0)


def examples(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes, 0, 1 and 3, each about a direction of its own."""
    label = torch.tensor([0, 0, 1, 1, 3, 3])
    noise = 0.1 * torch.randn(6, 8, generator=torch.Generator().manual_seed(seed))
    return F.one_hot(label, 8).float() + noise, label


@pytest.mark.parametrize(("reading", "similarity"), READINGS)
def test_queries_are_given_the_class_of_what_resembles_them(reading, similarity):
    m = memory(reading, similarity)
    x, label = examples()
    found = m.classify(m.write(m.initial_state(), x, target=label), examples(1)[0])
    probability = found.log_probability.exp()
    assert (probability.argmax(-1) == label).all()
    assert torch.allclose(probability.sum(-1), torch.ones(6), atol=1e-5)
    assert (found.log_probability[:, 2] == MIN_LOG_PROBABILITY).all()
    assert (found.read is None) == (reading == "prototypes")


@pytest.mark.parametrize(("reading", "similarity"), READINGS)
def test_an_erased_class_is_never_answered_and_the_others_are_as_without_it(reading, similarity):
    m = memory(reading, similarity)
    x, label = examples()
    erased, _ = m.erase_class(m.write(m.initial_state(), x, target=label), 1)
    without = m.write(m.initial_state(), x[label != 1], target=label[label != 1])
    query = examples(1)[0]
    assert (m.classify(erased, query).log_probability[:, 1] == MIN_LOG_PROBABILITY).all()
    assert torch.allclose(
        m.classify(erased, query).log_probability, m.classify(without, query).log_probability, atol=1e-4
    )


@pytest.mark.parametrize(("reading", "similarity"), READINGS)
def test_an_empty_memory_answers_nothing_and_has_a_gradient(reading, similarity):
    m = memory(reading, similarity)
    query = examples()[0].requires_grad_()
    found = m.classify(m.initial_state(), query).log_probability
    assert (found == MIN_LOG_PROBABILITY).all()
    assert (
        torch.autograd.grad(found.sum(), query, allow_unused=True, materialize_grads=True)[0].isfinite().all()
    )


@pytest.mark.parametrize(("reading", "similarity"), READINGS)
def test_a_masked_example_is_not_written(reading, similarity):
    m = memory(reading, similarity)
    x, label = examples()
    mask = torch.tensor([True, True, True, False, True, False])
    x[~mask] = torch.nan
    some = m.write(m.initial_state(), x, mask, label)
    short = m.write(m.initial_state(), x[mask], target=label[mask])
    query = examples(1)[0]
    assert torch.equal(m.classify(some, query).log_probability, m.classify(short, query).log_probability)


@pytest.mark.parametrize(("reading", "similarity"), READINGS)
def test_episodes_and_queries_do_not_see_each_other(reading, similarity):
    m = memory(reading, similarity)
    (x, label), (other, _) = examples(), examples(2)
    state = m.write(m.initial_state(2), torch.stack([x, other]), target=label.expand(2, -1))
    both = m.classify(state, torch.stack([other, x])).log_probability
    alone = m.classify(m.write(m.initial_state(), x, target=label), other[:1]).log_probability
    assert torch.allclose(both[0, :1], alone, atol=1e-5)


def test_prototypes_are_means_and_the_softmax_is_of_distances():
    m = ExampleMemory(VectorStorage(8, 4, slots=12), "prototypes", "euclidean", sharpness=0.5)
    x, label = examples()
    query = examples(1)[0]
    means = torch.stack([x[label == c].mean(0) for c in (0, 1, 3)])
    expected = (-0.5 * torch.cdist(query, means).square()).log_softmax(-1)
    found = m.classify(m.write(m.initial_state(), x, target=label), query).log_probability
    assert torch.allclose(found[:, [0, 1, 3]], expected, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):  # distances are not taken in half precision
        half = m.classify(m.write(m.initial_state(), x, target=label), query).log_probability
    assert torch.allclose(half, found)


def test_one_shot_prototypes_are_a_matching_read():
    x, label = examples()
    x, label = x[::2], label[::2]
    storage = VectorStorage(8, 4, slots=3, sharpness=7.0)
    read = [
        (m := ExampleMemory(storage, reading, "cosine", sharpness=7.0)).classify(
            m.write(m.initial_state(), x, target=label), examples(1)[0]
        )
        for reading in ("matching", "prototypes")
    ]
    assert torch.allclose(read[0].log_probability, read[1].log_probability, atol=1e-4)


def test_prototype_similarity_is_the_negative_squared_distance():
    x, means = torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    assert torch.allclose(
        prototype_similarity(x, means, "euclidean"), -torch.cdist(x, means).square(), atol=1e-4
    )
    assert prototype_similarity(x, x, "cosine").diagonal(dim1=1, dim2=2).allclose(torch.ones(2, 5))


def test_gradients_reach_examples_queries_and_sharpness():
    for reading in ("matching", "prototypes"):
        storage = VectorStorage(8, 4, slots=6, learn_sharpness=reading == "matching")
        m = ExampleMemory(storage, reading, "cosine", learn_sharpness=reading == "prototypes")
        (x, label), query = examples(), examples(1)[0].requires_grad_()
        x.requires_grad_()
        loss = F.nll_loss(
            m.classify(m.write(m.initial_state(), x, target=label), query).log_probability, label
        )
        learned = [p for p in m.parameters() if p.requires_grad]
        assert len(learned) == 1
        for gradient in torch.autograd.grad(loss, [x, query, *learned]):
            assert gradient.isfinite().all()
            assert gradient.abs().sum() > 0


def test_any_storage_will_do():
    storage = HashStorage(8, 4, buckets=16, capacity=8, tables=4)
    x, label = examples()
    for reading in ("matching", "prototypes"):
        m = ExampleMemory(storage, reading, "cosine")
        found = m.classify(m.write(m.initial_state(), x, target=label), x).log_probability
        assert (found.argmax(-1) == label).all()


def test_what_cannot_be_is_refused():
    storage = VectorStorage(8, 4, slots=2)
    for options in ({"method": "guessing"}, {"similarity": "dot"}, {"sharpness": 0.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            ExampleMemory(storage, **options)


def test_never_is_finite():
    assert math.isfinite(MIN_LOG_PROBABILITY)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_what_is_known_counts_as_one_example_of_each_class(similarity):
    m = memory("prototypes", similarity)
    x, label = examples()
    known, query = torch.randn(4, 8), examples(1)[0]
    state = m.write(m.initial_state(), x, target=label)
    written = m.write(state, known, target=torch.arange(4))
    expected = m.classify(written, query).log_probability
    assert torch.allclose(m.classify(state, query, known).log_probability, expected, atol=1e-5)
    forgotten, _ = m.erase_class(state, 0)
    assert m.classify(forgotten, known[:1], known).log_probability.argmax() == 0


def test_without_examples_what_is_known_is_all_there_is():
    m = memory("prototypes", "cosine")
    known, query = torch.eye(8)[:4], examples()[0]
    found = m.classify(m.initial_state(), query, known).log_probability
    assert (found.argmax(-1) == examples()[1]).all()


def test_matching_knows_no_class_beforehand():
    m = memory("matching")
    with pytest.raises(ValueError, match='class_weights are for method="prototypes"'):
        m.classify(m.initial_state(), examples()[0], torch.eye(8)[:4])


@pytest.mark.parametrize(("reading", "similarity"), READINGS)
def test_as_a_layer_it_returns_the_expected_class_mean(reading, similarity):
    m = memory(reading, similarity)
    x, label = examples()
    state, query = m.write(m.initial_state(), x, target=label), examples(1)[0]
    means = torch.stack([x[label == c].mean(0) if c != 2 else torch.zeros(8) for c in range(4)])
    y, after = m(query, state)
    torch.testing.assert_close(y, m.classify(state, query).log_probability.exp() @ means)
    assert after is state
    assert m.inspect(state)["examples"].tolist() == [2, 2, 0, 2]
    masked = m.read(state, query, torch.tensor([True, False] * 3))
    assert (masked[1::2] == 0).all()
    torch.testing.assert_close(masked[::2], y[::2])


def test_an_example_without_a_label_takes_the_class_that_the_memory_answers():
    m = memory("prototypes")
    x, label = examples()
    state = m.write(m.initial_state(), x, target=label)
    torch.testing.assert_close(m.write(state, examples(1)[0]), m.write(state, examples(1)[0], target=label))


def test_examples_can_be_erased_by_what_they_look_like():
    m = memory()
    x, label = torch.eye(8)[:3], torch.tensor([0, 1, 3])
    state = m.erase(m.write(m.initial_state(), x, target=label), x[1:2])
    assert m.inspect(state)["examples"].tolist() == [1, 0, 0, 1]


def test_steps_are_written_before_they_read():
    m = ExampleMemory(VectorStorage(8, 4, slots=12), "prototypes", write_on_forward=True)
    x, label = examples()
    y, after = m(x, None, target=label)
    torch.testing.assert_close(after, m.write(m.initial_state(), x, target=label))
    torch.testing.assert_close(y[0], x[0])


def lasting(storage, reading: str, gate: float = 0.9) -> nn.Module:
    """A linear classifier with a lasting memory of examples."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4))
    m = ExampleMemory(storage, reading, "cosine", 20.0, classes=4, lasting=True)
    return augment(model, at="1", memory=m, integration=partial(Interpolation, gate=gate))


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("reading", ["matching", "prototypes"])
def test_a_lasting_memory_of_examples_is_remembered_cited_and_forgotten(reading, width):
    model, (x, label) = lasting(VectorStorage(8, width, slots=12), reading), examples()
    remember(model, x, label, source=["a", "a", "b", "b", "c", "c"])
    y = model(examples(1)[0])
    assert torch.equal(y.argmax(-1), label)
    cited = explain(model)[2].citations[0]
    assert (cited.source, cited.target) == ("b", 1)
    m = model[1].memory.memory
    assert m.forget_class(1) == 2
    assert (m.classify(None, model[0](x)).log_probability[:, 1] == MIN_LOG_PROBABILITY).all()
    assert forget(model, source="c") == 2
    with without_memory(model):
        before = model(x)
    forget(model, source="a")
    assert torch.equal(model(x), before)


def test_examples_outside_the_process_are_matched():
    engine = ExternalStorage(ListEngine(8, 1, metric="cosine"))
    model, (x, label) = lasting(engine, "matching"), examples()
    remember(model, x, label, "first")
    assert torch.equal(model(examples(1)[0]).argmax(-1), label)
    assert model[1].memory.memory.forget_class(0) == 2
    with pytest.raises(ValueError, match="needs a storage in memory"):
        ExampleMemory(engine, "prototypes")


def test_class_numbers_are_as_good_as_one_hot_values():
    x, label = examples()
    both = []
    for storage in (VectorStorage(8, 4, slots=12), VectorStorage(8, 1, slots=12)):
        m = ExampleMemory(storage, "prototypes", "cosine", classes=4)
        state = m.write(m.initial_state(), x, target=label)
        both.append((m.classify(state, x).log_probability, m.inspect(state)["examples"]))
    assert torch.equal(both[0][0], both[1][0])
    assert torch.equal(both[0][1], both[1][1])
