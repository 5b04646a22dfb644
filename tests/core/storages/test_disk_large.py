"""Spaces of a storage on disk with too many rows for memory: found by an index, which never lags behind."""

import time
from pathlib import Path

import pytest
import torch

from recollect import DiskStorage
from recollect.ops.distance import METRICS, nearest_slots
from recollect.storages.disk_engine import LanceEngine
from recollect.storages.disk_index import Build
from recollect.testing import ENGINE_CHECKS

K, V, N = 16, 2, 3000


def rows(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, K, generator=generator), torch.randn(count, V, generator=generator)


def wait(engine: LanceEngine, space: int = 0) -> None:
    """Wait until an index is built."""
    for _ in range(3000):
        if engine.index_progress(space) == 1:
            return
        time.sleep(0.01)
    raise AssertionError("the index is not built")


def recall(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.unsqueeze(-1) == expected.unsqueeze(-2)).any(-1).float().mean())


class Indexed(LanceEngine):
    """Has an index for every row, and waits for it."""

    def search(self, queries, k, space=0):
        if not torch.is_tensor(space) and len(queries):
            wait(self, space)
        return super().search(queries, k, space)


@pytest.mark.thorough
@pytest.mark.parametrize("engine", [LanceEngine, Indexed])
@pytest.mark.parametrize("promise", ["search", "spaces", "erase", "sequences", "threads"])
def test_the_engine_keeps_its_promises(promise: str, engine: type[LanceEngine], tmp_path: Path):
    def make(metric):
        return engine(tmp_path / str(time.monotonic_ns()), 6, 3, metric=metric, exact=1)

    ENGINE_CHECKS[promise](make)


@pytest.mark.parametrize("metric", METRICS)
def test_a_search_is_exact_without_and_good_with_an_index(metric: str, tmp_path: Path):
    engine = LanceEngine(tmp_path, K, V, metric=metric, exact=100)
    keys, values = rows(N)
    numbers = torch.cat([engine.add(keys[part], values[part]) for part in torch.arange(N).split(1000)])
    queries = rows(20, 1)[0]
    best = numbers[nearest_slots(queries, keys, torch.ones(N, dtype=torch.bool), 10, metric)]
    first = engine.search(queries, 10)
    assert recall(first.rows, best) >= 0.9, "whether or not the index is built already"
    wait(engine)
    found = engine.search(queries, 10)
    assert recall(found.rows, best) >= 0.9
    assert torch.equal(found.keys, keys[found.rows])
    assert torch.equal(found.values, values[found.rows])
    for query, near in zip(queries, found.keys, strict=True):
        one = nearest_slots(query[None], near, torch.ones(10, dtype=torch.bool), 10, metric)
        assert one.tolist() == [list(range(10))], "nearest first"


def test_before_the_index_is_built_every_row_is_compared(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Build, "_run", lambda self: self._stopped.wait(20))
    engine = LanceEngine(tmp_path, K, V, exact=100)
    keys, values = rows(N)
    numbers = engine.add(keys, values)
    other = engine.add(keys.flip(0), values, space=1).flip(0)
    queries = rows(20, 1)[0]
    best = nearest_slots(queries, keys, torch.ones(N, dtype=torch.bool), 10, "l2")
    assert torch.equal(engine.search(queries, 10).rows, numbers[best])
    assert torch.equal(engine.search(queries, 10, space=1).rows, other[best])
    assert engine.index_progress() == 0
    assert engine.index_progress(77) == 1, "a space without rows needs none"
    engine.close()


def test_an_index_never_serves_what_was_erased_and_sees_what_others_write(tmp_path: Path):
    ours, theirs = LanceEngine(tmp_path, K, V, exact=100), LanceEngine(tmp_path, K, V, exact=10**6)
    keys, values = rows(N)
    numbers = theirs.add(keys, values)
    wait(ours)
    more = theirs.add(*rows(5, 1))
    assert torch.equal(ours.search(rows(5, 1)[0], 1).rows.squeeze(-1), more)
    gone = numbers[::3]
    assert theirs.erase(gone, purge=True) == len(gone)
    found = ours.search(keys[::3], 5).rows
    assert not torch.isin(found, gone).any()
    assert theirs.erase(numbers) == N - len(gone)
    assert sorted(ours.search(keys[:1], 9).rows.tolist()[0]) == [-1] * 4 + more.tolist()
    assert ours.index_progress() == 1, "small again, and exact"


def test_an_index_that_has_grown_is_built_anew(tmp_path: Path):
    engine = LanceEngine(tmp_path, K, V, exact=10)
    keys, values = rows(600)
    engine.add(keys[:20], values[:20])
    wait(engine)
    large = engine._searcher._large[0]
    first = large._index
    numbers = engine.add(keys[20:], values[20:])
    for _ in range(1000):
        found = engine.search(keys[20:], 1).rows.squeeze(-1)
        assert torch.equal(found, numbers), "also while the next one is being built"
        if large._index is not first:
            break
        time.sleep(0.01)
    assert large._index is not first


def test_an_index_that_cannot_be_built_says_why(tmp_path: Path, monkeypatch):
    def fail(self, count):
        raise MemoryError("no memory for the sample")

    monkeypatch.setattr("recollect.storages.disk_large.LargeSpace._sample", fail)
    engine = LanceEngine(tmp_path, K, V, exact=10)
    engine.add(*rows(20))
    with pytest.raises(RuntimeError, match="the index could not be built: no memory for the sample"):
        wait(engine)


def test_a_storage_passes_the_limit_on(tmp_path: Path):
    storage = DiskStorage(tmp_path, K, V, exact=10, top_k=1)
    keys, values = rows(30)
    state = storage.write(storage.initial_state(), keys, values)
    wait(storage.engine)
    torch.testing.assert_close(storage.read(state, keys).value, values)
    with pytest.raises(ValueError, match="exact must be at least 1"):
        DiskStorage(tmp_path / "other", K, V, exact=0)
