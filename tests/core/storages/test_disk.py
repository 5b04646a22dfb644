"""A storage on disk: what every engine and storage promises, and what only one that lasts can."""

import copy
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recollect import DiskStorage
from recollect.storages.disk_engine import LanceEngine
from recollect.storages.lance_table import row_filter
from recollect.testing import ENGINE_CHECKS, EXTERNAL_LAWS, check_operations

K, V = 6, 3


def rows(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, K, generator=generator), torch.randn(count, V, generator=generator)


class Folders:
    """Folders that nobody has used."""

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0

    def new(self) -> Path:
        self.count += 1
        return self.path / str(self.count)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memory.lance"


@pytest.mark.parametrize("promise", ENGINE_CHECKS)
def test_the_engine_keeps_its_promises(promise: str, folders: Folders):
    ENGINE_CHECKS[promise](lambda metric: LanceEngine(folders.new(), K, V, metric=metric))


@pytest.mark.parametrize("law", EXTERNAL_LAWS)
def test_law(law: str, folders: Folders):
    EXTERNAL_LAWS[law](lambda **options: DiskStorage(folders.new(), K, V, **options))


class Reopened(LanceEngine):
    """Opens its folder anew instead of compacting."""

    def compact(self) -> None:
        super().compact()
        self.close()
        self.__setstate__(self.__getstate__())


NAMES = st.sampled_from(("add", "erase", "search", "compact"))


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.tuples(NAMES, st.integers(0, 10**6)), max_size=12), st.sampled_from(("l2", "cosine", "dot"))
)
def test_any_sequence_gives_what_a_list_gives(tmp_path_factory, operations, metric):
    def make(metric):
        return Reopened(tmp_path_factory.mktemp("store"), K, V, metric=metric)

    check_operations(make, operations, metric)


def test_it_outlives_the_one_who_wrote(path: Path):
    keys, values = rows(5)
    first = LanceEngine(path, K, V)
    numbers = first.add(keys, values, sources=list("aabbc"), space=7)
    first.close()
    again = LanceEngine(path, K, V)
    assert torch.equal(again.search(keys, 1, space=7).rows.squeeze(-1), numbers)
    assert again.sources(7) == {"a": 2, "b": 2, "c": 1}
    assert int(again.add(keys[:1], values[:1])) > int(numbers.max())


def test_two_see_what_either_does_at_once(path: Path):
    ours, theirs = LanceEngine(path, K, V), LanceEngine(path, K, V)
    keys, values = rows(4)
    for n in range(4):
        writer, reader = (ours, theirs) if n % 2 else (theirs, ours)
        number = writer.add(keys[n : n + 1], values[n : n + 1])
        assert torch.equal(reader.search(keys[n : n + 1], 1).rows[0], number)
        assert reader.version == writer.version
    gone = ours.search(keys, 1).rows[:2, 0]
    assert theirs.erase(gone) == 2
    assert not torch.isin(ours.search(keys, 4).rows, gone).any()
    assert ours.count() == theirs.count() == 2


def test_an_erase_by_one_in_the_middle_of_a_scan_by_another(path: Path):
    ours, theirs = LanceEngine(path, K, V), LanceEngine(path, K, V)
    numbers = ours.add(*rows(6))
    scan = ours.scan(size=2)
    assert len(next(scan).origins) == 2
    theirs.erase(numbers[2:5])
    assert [origin.row for block in scan for origin in block.origins] == numbers[5:].tolist()


@pytest.mark.parametrize(
    ("sizes", "metric", "what"),
    [((K + 1, V), "l2", "key_size 6, not 7"), ((K, 1), "l2", "value_size 3"), ((K, V), "dot", "metric 'l2'")],
)
def test_a_store_of_other_sizes_or_metric_is_refused(path: Path, sizes, metric, what):
    LanceEngine(path, K, V).add(*rows(1))
    with pytest.raises(ValueError, match=rf"memory\.lance is a store with {what}"):
        LanceEngine(path, *sizes, metric=metric)
    assert LanceEngine(path, K, V).count() == 1


def test_keys_of_another_model_are_refused_also_later(path: Path):
    LanceEngine(path, K, V).claim("model-a")
    again = LanceEngine(path, K, V)
    assert again.manifest["fingerprint"] == "model-a"
    with pytest.raises(ValueError, match="holds keys of the model model-a, not of model-b"):
        again.claim("model-b")


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="is no store"):
        LanceEngine(tmp_path, K, V)
    with pytest.raises(ValueError, match="is no store"):
        LanceEngine(tmp_path / "thesis.tex", K, V)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_damaged_or_later_manifest_is_named(path: Path):
    engine = LanceEngine(path, K, V)
    engine.add(*rows(1))
    manifest = path / "recollect.json"
    good = manifest.read_text()
    manifest.write_text(good[:20])
    with pytest.raises(ValueError, match=r"recollect\.json is no manifest"):
        LanceEngine(path, K, V)
    manifest.write_text(json.dumps(json.loads(good) | {"format": 2}))
    with pytest.raises(ValueError, match="has format 2, this version reads 1"):
        LanceEngine(path, K, V)
    manifest.write_text(good)
    (path / "rows.next").write_text("many")
    with pytest.raises(ValueError, match=r"rows\.next must hold the next row number, got 'many'"):
        engine.add(*rows(1))
    assert LanceEngine(path, K, V).count() == 1


def test_a_creation_that_was_cut_short_is_done_again(path: Path):
    LanceEngine(path, K, V)
    (path / "recollect.json").unlink()  # the last file to be written
    engine = LanceEngine(path, K, V)
    assert engine.add(*rows(1)).tolist() == [0]
    assert engine.count() == 1


def test_copies_use_the_same_store(path: Path):
    engine = LanceEngine(path, K, V, metric="dot")
    storage = DiskStorage(path, K, V, metric="dot")
    numbers = engine.add(*rows(2))
    assert copy.deepcopy(storage).engine is storage.engine
    copied = pickle.loads(pickle.dumps(engine))
    assert copied is not engine
    assert copied.erase(numbers[:1]) == 1
    assert engine.count() == storage.engine.count() == 1


def test_a_closed_engine_says_so(path: Path):
    engine = LanceEngine(path, K, V)
    engine.close()
    with pytest.raises(ValueError, match="has been closed"):
        engine.count()
    with pytest.raises(ValueError, match="has been closed"):
        engine.add(*rows(1))


def test_deletes_that_conflict_with_those_of_a_stranger_are_tried_again(path: Path, monkeypatch):
    engine = LanceEngine(path, K, V)
    numbers = engine.add(*rows(4))
    table, failures = engine._table._table, [2]
    delete = type(table).delete

    def conflicting(self, where):
        if failures[0]:
            failures[0] -= 1
            raise RuntimeError("lance error: Retryable commit conflict for version 3")
        return delete(self, where)

    monkeypatch.setattr(type(table), "delete", conflicting)
    assert engine.erase(numbers[:2]) == 2
    assert engine.count() == 2
    failures[0] = 1000
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(OSError, match=r"nothing was changed in the store, .*conflict"):
        engine.erase(numbers[2:])
    assert engine.count() == 2


def test_rows_are_named_by_runs():
    assert row_filter(np.array([3, 1, 2, 9, 11])) == "(row >= 1 and row <= 3) or row in (9, 11)"
    assert row_filter(np.array([5])) == "row in (5)"


def test_many_scattered_rows_are_erased_at_once(path: Path):
    engine = LanceEngine(path, K, V)
    numbers = engine.add(*rows(9000))
    assert engine.erase(numbers[::2]) == 4500
    assert torch.equal(torch.tensor([o.row for block in engine.scan() for o in block.origins]), numbers[1::2])


def test_the_state_dict_holds_no_rows(path: Path):
    storage = DiskStorage(path, K, V)
    storage.write(storage.initial_state(), *rows(3))
    assert set(storage.state_dict()) == {"log_sharpness"}


@pytest.mark.parametrize("missing", ["lancedb", "filelock"])
def test_without_the_extra_the_error_says_what_to_install(monkeypatch, path: Path, missing: str):
    for name in ("disk_engine", "disk_directory", "disk_folder", "disk_shelf", "lance_table"):
        monkeypatch.delitem(sys.modules, f"recollect.storages.{name}", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)  # as if it were not installed
    with pytest.raises(ImportError, match=rf"{missing}\): pip install recollect\[disk\]"):
        DiskStorage(path, K, V)
    assert not path.exists()
