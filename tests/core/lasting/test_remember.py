"""Remember, explain and forget: exact, cited, and refused where they cannot be right."""

import copy
import time

import pytest
import torch
from torch import nn

from recollect import (
    Concatenation,
    Fusion,
    HashStorage,
    Interpolation,
    NeighborMemory,
    Parallel,
    VectorStorage,
    augment,
    carry,
    explain,
    forget,
    memory_parameters,
    provenance,
    remember,
    remove_memory,
    without_memory,
)
from recollect.fingerprint import model_fingerprint
from recollect.storages.external import ExternalStorage
from recollect.testing import ListEngine

D, CLASSES = 8, 5


def rows_of(seed, count=6):
    """Inputs and classes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, generator=generator)
    return x, torch.randint(CLASSES, (count,), generator=generator)


def test_an_empty_memory_changes_nothing(make_model, storage):
    model, (x, _) = make_model(storage), rows_of(0)
    with without_memory(model):
        before = model(x)
    assert torch.equal(model(x), before)


def test_what_was_remembered_is_predicted(make_model, storage):
    model, (x, y) = make_model(storage, gate=0.9, k=1), rows_of(0)
    rows = remember(model, x, y, source="first")
    assert rows.shape == y.shape
    assert (rows >= 0).all()
    assert torch.equal(model(x).argmax(-1), y)


def test_explain_cites_row_source_time_and_distance(make_model, storage):
    model, (x, y) = make_model(storage, k=2), rows_of(0)
    start = time.time()
    rows = remember(model, x, y, source=[f"document {number}" for number in range(len(x))])
    model(x)
    explanations = explain(model)
    assert [explanation.position for explanation in explanations] == [(number,) for number in range(len(x))]
    for number, explanation in enumerate(explanations):
        first, second = explanation.citations
        assert explanation.layer == "2"
        assert explanation.weight == pytest.approx(0.5)
        assert (first.row, first.source) == (rows[number], f"document {number}")
        assert first.target == y[number]
        assert first.distance == 0 < second.distance
        assert start - 1 <= first.time <= time.time() + 1
        assert first.weight + second.weight == pytest.approx(1)
        assert first.weight >= second.weight


def test_forgetting_a_source_is_exact(make_model, make_storage):
    """Every answer equals, to the bit, that of a store which never held the source."""
    kept, gone, queries = rows_of(0), rows_of(1), rows_of(2, 40)[0]
    model, other = make_model(make_storage()), make_model(make_storage())
    for one in (model, other):
        remember(one, kept[0][:3], kept[1][:3], "kept")
    remember(model, *gone, "gone")
    for one in (model, other):
        remember(one, kept[0][3:], kept[1][3:], "kept")
    assert not torch.equal(model(queries), other(queries))
    assert forget(model, source="gone") == 6
    assert torch.equal(model(queries), other(queries))
    assert provenance(model) == provenance(other) == {"2": {"kept": 6}}
    assert forget(model, source="gone") == 0


def test_forget_where(make_model, storage):
    model, (x, y) = make_model(storage), rows_of(0)
    remember(model, x, y, source=["a/1", "a/2", "b/1", "b/2", "b/3", "a/3"])
    assert forget(model, where=lambda origin: origin.source.startswith("a/")) == 3
    assert forget(model, source=["b/1", "b/2"], where=lambda origin: origin.source.endswith("2")) == 1
    assert provenance(model) == {"2": {"b/1": 1, "b/3": 1}}


def test_membership_probe_is_at_chance_after_forgetting(make_model):
    """The distance of the nearest row tells nothing about what was forgotten."""
    model = make_model(VectorStorage(D, 1, slots=4096), k=1)
    held_in, held_out, others = rows_of(1, 1000), rows_of(2, 1000), rows_of(3, 1000)
    remember(model, *others, "others")
    remember(model, *held_in, "gone")

    def auc():
        model(torch.cat([held_in[0], held_out[0]]))
        distance = torch.tensor([one.citations[0].distance for one in explain(model)])
        inside, outside = distance[:1000], distance[1000:]
        before = (inside[:, None] < outside).double() + 0.5 * (inside[:, None] == outside)
        return float(before.mean())

    assert auc() > 0.99
    forget(model, source="gone")
    assert abs(auc() - 0.5) < 0.02


def test_forgotten_rows_leave_no_bytes_in_memory(make_model):
    model, (x, y) = make_model(VectorStorage(D, 1, slots=16)), rows_of(0)
    remember(model, x, y, "gone")
    forget(model, source="gone")
    state = model[2].memory.memory.rows.snapshot()
    assert not state.keys.any()
    assert not state.values.any()


def test_a_snapshot_does_not_change(make_model, storage):
    if isinstance(storage, ExternalStorage):
        pytest.skip("an engine's snapshot is a search")
    model, (x, y) = make_model(storage), rows_of(0)
    remember(model, x, y)
    memory = model[2].memory.memory
    snapshot, query = memory.rows.snapshot(), torch.randn(3, D)
    before = memory.lookup(query, snapshot)
    remember(model, *rows_of(1))
    forget(model, source="")
    after = memory.lookup(query, snapshot)
    assert all(map(torch.equal, before, after))


def test_steps_of_sequences_masks_and_ignored_targets():
    model = nn.Sequential(nn.Linear(3, D), nn.Linear(D, CLASSES))
    memory = NeighborMemory(D, VectorStorage(D, 1, slots=64), classes=CLASSES)
    augment(model, at="1", memory=memory, integration=Interpolation)
    x, y = torch.randn(2, 4, 3), torch.randint(CLASSES, (2, 4))
    y[0, 0] = -100
    mask = torch.ones(2, 4, dtype=torch.bool)
    mask[1, 2:] = False
    rows = remember(model, x, y, source=["a", "b"], mask=mask)
    assert rows.tolist() == [[-1, 0, 1, 2], [3, 4, -1, -1]]
    assert provenance(model) == {"1": {"a": 3, "b": 2}}


def test_vectors_are_interpolated():
    model = nn.Sequential(nn.Linear(3, D), nn.Linear(D, 2))
    memory = NeighborMemory(D, VectorStorage(D, 2, slots=64), k=1)
    augment(model, at="1", memory=memory, integration=lambda *a, **k: Interpolation(*a, 0.25, **k))
    x, target = torch.randn(4, 3), torch.randn(4, 2)
    before = model(x)
    remember(model, x, target)
    assert torch.allclose(model(x), 0.75 * before + 0.25 * target, atol=1e-6)


# --- the store and the model --------------------------------------------------------------------------------


def test_rows_of_another_model_are_refused(make_model, storage):
    model, (x, y) = make_model(storage), rows_of(0)
    remember(model, x, y)
    with torch.no_grad():
        model[0].weight += 1
    with pytest.raises(ValueError, match="holds keys of the model"):
        remember(model, x, y)
    assert provenance(model) == {"2": {"": 6}}


def test_the_state_dict_holds_rows_and_sources(make_model, make_storage):
    if isinstance(make_storage(), ExternalStorage):
        pytest.skip("an engine keeps its rows itself")
    model, (x, y) = make_model(make_storage()), rows_of(0)
    remember(model, x, y, "first")
    saved = {
        name: value.clone() if torch.is_tensor(value) else value for name, value in model.state_dict().items()
    }
    after = model(x)
    forget(model, source="first")
    other = make_model(make_storage())
    other.load_state_dict(saved)
    assert torch.equal(other(x), after)
    assert provenance(other) == {"2": {"first": 6}}
    copied = copy.deepcopy(other)
    remember(copied, *rows_of(1), "second")
    assert provenance(other) == {"2": {"first": 6}}


def test_a_saved_state_dict_is_not_changed_by_later_writes(make_model):
    model = make_model(VectorStorage(D, 1, slots=64))
    remember(model, *rows_of(0))
    saved = model.state_dict()
    before = {name: value.clone() for name, value in saved.items() if torch.is_tensor(value)}
    remember(model, *rows_of(1))
    remember(model, *rows_of(2))
    assert all(torch.equal(saved[name], value) for name, value in before.items())


def test_a_large_store_is_not_part_of_the_state_dict():
    memory = NeighborMemory(1024, VectorStorage(1024, 1, slots=20_000), classes=2)
    assert sum(value.nbytes for value in memory.state_dict().values() if torch.is_tensor(value)) < 1000


def test_an_engine_puts_its_manifest_into_the_state_dict(make_model):
    model = make_model(ExternalStorage(ListEngine(D, 1, metric="l2")))
    remember(model, *rows_of(0))
    saved = model.state_dict()
    other = make_model(ExternalStorage(ListEngine(D, 1, metric="l2")))
    with torch.no_grad():
        other[0].weight += 1
    remember(other, *rows_of(0))
    with pytest.raises(ValueError, match="belongs to another store"):
        other.load_state_dict(saved)


def test_rows_keep_their_precision_in_a_half_precision_model():
    storage = VectorStorage(D, 1, slots=64)
    model = nn.Sequential(nn.Linear(3, D), nn.Linear(D, 4000))
    memory = NeighborMemory(D, storage, classes=4000, k=1)
    augment(model, at="1", memory=memory, integration=lambda *a, **k: Interpolation(*a, 0.9, **k)).bfloat16()
    x, y = torch.randn(5, 3).bfloat16(), torch.tensor([3999, 2049, 257, 4097 - 100, 3001])
    remember(model, x, y)
    assert model(x).dtype == torch.bfloat16
    assert torch.equal(model(x).argmax(-1), y)


def test_remove_memory_gives_the_model_back(make_model):
    model, (x, _y) = make_model(VectorStorage(D, 1, slots=64), query_at="1"), rows_of(0)
    with without_memory(model):
        before, names = (
            model(x),
            list(nn.Sequential(nn.Linear(3, D), nn.Tanh(), nn.Linear(D, CLASSES)).state_dict()),
        )
    remove_memory(model)
    assert torch.equal(model(x), before)
    assert list(model.state_dict()) == names
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in model.modules())


def test_the_query_may_be_the_input_of_another_part(make_model):
    model, (x, y) = make_model(VectorStorage(D, 1, slots=64), query_at="1"), rows_of(0)
    remember(model, x, y)
    stored = model[2].memory.memory.rows.snapshot().keys[: len(x)]
    assert torch.equal(stored, model[0](x))


# --- bad input ----------------------------------------------------------------------------------------------


def test_bad_input_is_refused_and_nothing_is_written(make_model, storage):
    model, (x, y) = make_model(storage), rows_of(0)
    bad = y.clone()
    bad[2] = CLASSES
    for targets, source, message in [
        (y[:3], "", r"targets of shape \(3,\)"),
        (bad, "", "classes in"),
        (y, ["a"], "6 items need as many sources"),
    ]:
        with pytest.raises(ValueError, match=message):
            remember(model, x, targets, source)
    with pytest.raises(ValueError, match="NaN"):
        remember(model, torch.full_like(x, torch.nan), y)
    with pytest.raises(ValueError, match="mask must be bool"):
        remember(model, x, y, mask=torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match="by source or where"):
        forget(model)
    with pytest.raises(ValueError, match="has no lasting memory; 2 has"):
        forget(model, source="a", at="0")
    assert provenance(model) == {"2": {}}


def test_models_without_a_lasting_memory():
    with pytest.raises(ValueError, match="no layer of this Linear has a lasting memory"):
        remember(nn.Linear(2, 2), torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))


def test_explain_before_a_call(make_model):
    with pytest.raises(ValueError, match="before the model is called"):
        explain(make_model(VectorStorage(D, 1, slots=4)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 3}, "predicts 3 numbers and the layer 5"),
        ({"width": 4}, "8 features and the memory's keys 4"),
    ],
)
def test_sizes_that_do_not_fit(arguments, message):
    width = arguments.get("width", D)
    memory = NeighborMemory(
        width, VectorStorage(width, 1, slots=4), classes=arguments.get("classes", CLASSES)
    )
    model = nn.Sequential(nn.Linear(3, D), nn.Linear(D, CLASSES))
    with pytest.raises(ValueError, match=message):
        augment(model, at="1", memory=memory, integration=Interpolation)
    assert not hasattr(model[1], "memory")


def test_memories_that_do_not_fit_their_storage():
    with pytest.raises(ValueError, match="keys of width 4, not 8"):
        NeighborMemory(8, VectorStorage(4, 1, slots=4), classes=2)
    with pytest.raises(ValueError, match="value_size=1 or 5, got 3"):
        NeighborMemory(8, VectorStorage(8, 3, slots=4), classes=5)
    with pytest.raises(ValueError, match="made for the metric 'l2', not 'dot'"):
        NeighborMemory(8, ExternalStorage(ListEngine(8, 1, metric="l2")), classes=2, metric="dot")


# --- other integrations -------------------------------------------------------------------------------------


@pytest.mark.parametrize("integration", [Concatenation, Parallel, Fusion])
def test_a_lasting_memory_of_vectors_is_read_by_every_integration(integration):
    torch.manual_seed(0)
    memory, x = NeighborMemory(D, VectorStorage(D, D, slots=64), k=2), torch.randn(2, 5, D)
    rows = memory.remember(torch.randn(10, D), torch.randn(10, D), "first")
    model = nn.Sequential(nn.Linear(D, D), nn.GRU(D, D, batch_first=True))
    before = model(x)[0]
    augment(model, at="0", memory=memory, integration=integration, example=x)
    assert torch.equal(model(x)[0], before)
    for parameter in memory_parameters(model):
        if parameter.requires_grad:
            nn.init.normal_(parameter)
    with carry(model) as session:
        with_rows = model(x)[0]
        session.select(torch.tensor([1]))
        torch.testing.assert_close(model(x[1:])[0], with_rows[1:])
        session.reset(torch.tensor([True]))
        torch.testing.assert_close(model(x[1:])[0], with_rows[1:])
    assert len(memory.rows) == 10
    memory.rows.erase(rows)
    assert not torch.allclose(model(x)[0], with_rows)


def test_a_working_memory_of_neighbors_remembers_earlier_calls():
    torch.manual_seed(0)
    x = torch.randn(2, 5, D)
    model = nn.Sequential(nn.Linear(D, D), nn.GRU(D, D, batch_first=True))
    memory = NeighborMemory(D, VectorStorage(D, D, slots=64), k=2, lasting=False)
    augment(model, at="0", memory=memory, integration=Fusion, example=x)
    for parameter in memory_parameters(model):
        if parameter.requires_grad:
            nn.init.normal_(parameter)
    with carry(model) as session:
        first, second = model(x)[0], model(x)[0]
        assert session.inspect()["0"]["occupancy"].tolist() == [10 / 64] * 2
    assert not torch.allclose(first, second)
    with carry(model):
        torch.testing.assert_close(model(x)[0], first)


# --- edges --------------------------------------------------------------------------------------------------


def test_more_rows_than_there_is_room_for(make_model):
    model = make_model(VectorStorage(D, 1, slots=4))
    x, y = rows_of(0, 10)
    rows = remember(model, x, y, source=[f"item {item}" for item in range(10)])
    assert rows.tolist() == [-1] * 6 + [2, 3, 0, 1]
    assert provenance(model) == {"2": {f"item {item}": 1 for item in range(6, 10)}}
    model(x[9:])
    assert explain(model)[0].citations[0].source == "item 9"


def test_a_copy_of_a_model_shares_an_engine_and_owns_rows_in_memory(make_model, storage):
    model = make_model(storage)
    remember(model, *rows_of(0))
    copied = copy.deepcopy(model)
    remember(copied, *rows_of(1), "copy")
    shared = isinstance(storage, ExternalStorage)
    assert provenance(model) == {"2": {"": 6, "copy": 6} if shared else {"": 6}}


def test_a_fingerprint_sees_every_change(make_model):
    model = make_model(VectorStorage(D, 1, slots=4))
    first = model_fingerprint(model)
    assert model_fingerprint(model) == first
    model[0].weight.data[2, 1] += 1  # which no version counts
    second = model_fingerprint(model)
    with torch.no_grad():
        model[2].bias += 1
    assert len({first, second, model_fingerprint(model)}) == 3
    remember(model, *rows_of(0))
    third = model_fingerprint(model)
    nn.init.normal_(model[2].memory.memory.log_temperature)
    assert model_fingerprint(model) == third


def test_a_layer_that_has_grown_is_refused(make_model):
    model = make_model(VectorStorage(D, 1, slots=4))
    remember(model, *rows_of(0, 2))
    model[2].weight = nn.Parameter(torch.randn(CLASSES + 1, D))
    model[2].bias = nn.Parameter(torch.randn(CLASSES + 1))
    with pytest.raises(ValueError, match="the layer has 6 outputs and the memory predicts 5"):
        model(torch.randn(2, 3))


def test_rows_that_drop_out_of_a_full_bucket_have_no_number(make_model):
    model = make_model(HashStorage(D, 1, buckets=1, capacity=4, tables=1, entries=64))
    rows = remember(model, *rows_of(0, 10), source=[f"item {item}" for item in range(10)])
    assert (rows[:6] == -1).all()
    assert (rows[6:] >= 0).all()
    assert provenance(model) == {"2": {f"item {item}": 1 for item in range(6, 10)}}
