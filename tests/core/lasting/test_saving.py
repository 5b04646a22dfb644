"""Rows in a folder: saved whole, loaded where they fit, refused elsewhere."""

import json

import pytest
import torch

from recollect import VectorStorage, explain, forget, load_memory, provenance, remember, save_memory

D, CLASSES = 8, 5


def filled(make_model, storage):
    """A model that remembers six rows of two sources."""
    model = make_model(storage)
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    remember(model, x, torch.arange(6) % CLASSES, source=["a", "b"] * 3)
    return model, x


def test_rows_come_back_with_sources_and_times(make_model, make_storage, tmp_path):
    model, x = filled(make_model, make_storage())
    before = model(x)
    assert save_memory(model, tmp_path / "memory") == 6
    other = make_model(VectorStorage(D, make_storage().value_size, slots=64))
    assert load_memory(other, tmp_path / "memory") == 6
    assert provenance(other) == {"2": {"a": 3, "b": 3}}
    assert torch.allclose(other(x), before, atol=1e-6)
    ours, theirs = (
        [(one.citations[0].source, one.citations[0].time) for one in explain(each)] for each in (other, model)
    )
    assert ours == theirs


def test_a_large_store_is_saved_though_the_state_dict_leaves_it_out(make_model, tmp_path, monkeypatch):
    monkeypatch.setattr("recollect.memories.slot_store.SMALL", 0)
    model, x = filled(make_model, VectorStorage(D, 1, slots=64))
    save_memory(model, tmp_path / "memory")
    other = make_model(VectorStorage(D, 1, slots=64))
    other.load_state_dict(model.state_dict())
    assert provenance(other) == {"2": {}}
    load_memory(other, tmp_path / "memory")
    assert torch.equal(other(x), model(x))


def test_saving_again_replaces_at_once(make_model, tmp_path):
    model, _ = filled(make_model, VectorStorage(D, 1, slots=64))
    save_memory(model, tmp_path / "memory")
    forget(model, source="a")
    assert save_memory(model, tmp_path / "memory") == 3
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "manifest.json",
        "memory",
        "rows.safetensors",
    ]
    assert json.loads((tmp_path / "memory" / "manifest.json").read_text())["sources"] == ["b"]


def test_a_failure_leaves_what_was_there(make_model, tmp_path, monkeypatch):
    model, _ = filled(make_model, VectorStorage(D, 1, slots=64))
    save_memory(model, tmp_path / "memory")
    forget(model, source="a")

    def full(*arguments, **options):
        raise OSError("no space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OSError, match="no space left"):
        save_memory(model, tmp_path / "memory")
    monkeypatch.undo()
    other = make_model(VectorStorage(D, 1, slots=64))
    assert load_memory(other, tmp_path / "memory") == 6
    assert len(list(tmp_path.iterdir())) == 1


def test_what_does_not_fit_is_refused_and_nothing_is_added(make_model, tmp_path):
    model, _ = filled(make_model, VectorStorage(D, 1, slots=64))
    save_memory(model, tmp_path / "memory")
    small, wide = make_model(VectorStorage(D, 1, slots=5)), make_model(VectorStorage(D, CLASSES, slots=64))
    with pytest.raises(ValueError, match="has 6 rows, and the storage room for 5"):
        load_memory(small, tmp_path / "memory")
    with pytest.raises(ValueError, match="value_size is 1 there and 5 here"):
        load_memory(wide, tmp_path / "memory")
    other = make_model(VectorStorage(D, 1, slots=64))
    with torch.no_grad():
        other[0].weight += 1
    with pytest.raises(ValueError, match="holds keys of the model"):
        load_memory(other, tmp_path / "memory")
    with pytest.raises(FileNotFoundError, match="holds no saved memory"):
        load_memory(other, tmp_path / "elsewhere")
    assert provenance(small) == provenance(wide) == provenance(other) == {"2": {}}
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match="is not a saved memory"):
        save_memory(model, tmp_path / "mine")
