"""Upkeep of a storage on disk: files stay few, and a purge leaves no byte of what was erased."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from recollect.storages import disk_upkeep, disk_writer
from recollect.storages.disk_engine import LanceEngine
from recollect.storages.disk_upkeep import mergeable, remaining, with_deletions, worth_searching
from recollect.storages.lance_table import LanceTable

K, V = 16, 2


def rows(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, K, generator=generator), torch.randn(count, V, generator=generator)


def holders(folder: Path, text: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


def test_a_purge_leaves_no_byte_of_what_was_erased(tmp_path: Path):
    engine = LanceEngine(tmp_path, K, V)
    keys, values = rows(300)
    names = [f"ticket-{n:04d}" for n in range(300)]
    parts = (slice(n, n + 100) for n in (0, 100, 200))
    numbers = torch.cat([engine.add(keys[part], values[part], names[part]) for part in parts])
    assert engine.erase(numbers[:2]) == 2
    for n in (0, 1, 50, 150):
        assert holders(tmp_path, keys[n].numpy().tobytes()), "bytes are searchable before a purge"
        assert holders(tmp_path, names[n].encode())
    assert engine.erase(numbers[[50, 150]], purge=True) == 2
    for n in (0, 1, 50, 150):  # what was erased before the purge, too
        assert not holders(tmp_path, keys[n].numpy().tobytes())
        assert not holders(tmp_path, names[n].encode())
    left = torch.ones(300, dtype=torch.bool).index_fill(0, torch.tensor([0, 1, 50, 150]), False)
    found = list(engine.scan())
    assert [o.row for block in found for o in block.origins] == numbers[left].tolist()
    assert torch.equal(torch.cat([block.keys for block in found]), keys[left])
    assert not with_deletions(tmp_path / "rows.lance")


def test_an_erase_without_rows_purges_what_was_erased_earlier(tmp_path: Path):
    engine = LanceEngine(tmp_path, K, V)
    keys, values = rows(9)
    numbers = engine.add(keys, values)
    engine.erase(numbers[:3])
    assert engine.erase(numbers[:3], purge=True) == 0
    assert not holders(tmp_path, keys[0].numpy().tobytes())
    engine.erase(numbers[3:], purge=True)
    assert engine.count() == 0
    assert not holders(tmp_path, keys[5].numpy().tobytes())
    assert engine.add(keys, values).min() > numbers.max()


def test_a_purge_spares_rows_that_share_a_key_or_a_source(tmp_path: Path):
    engine = LanceEngine(tmp_path, K, V)
    keys, values = rows(6)
    keys[3] = keys[0]
    sources = ["document-1", "document-2", "document-3", "document-1", "document-22", "short"]
    numbers = engine.add(keys, values, sources)
    assert engine.erase(numbers[:2], purge=True) == 2
    assert engine.sources() == {"document-3": 1, "document-1": 1, "document-22": 1, "short": 1}
    assert torch.equal(engine.search(keys[:1], 1).rows, numbers[3:4, None])


def test_a_purge_that_leaves_bytes_raises(tmp_path: Path):
    engine = LanceEngine(tmp_path, K, V)
    keys, values = rows(9)
    numbers = engine.add(keys, values, sources="ticket-4711")
    (tmp_path / "notes.bin").write_bytes(b"abc" + keys[2].numpy().tobytes() + b"xyz")
    with pytest.raises(OSError, match=r"bytes of 1 erased keys or sources are still in notes\.bin"):
        engine.erase(numbers[:3], purge=True)
    assert engine.count() == 6, "erased they are"


def test_a_purge_whose_rewrite_fails_raises(tmp_path: Path, monkeypatch):
    engine = LanceEngine(tmp_path, K, V)
    numbers = engine.add(*rows(9))

    def full(self, fragments):
        raise RuntimeError("lance error: LanceError(IO): No space left on device (os error 28)")

    monkeypatch.setattr(LanceTable, "rewrite", full)
    with pytest.raises(OSError, match=r"rows were erased, but their bytes are still in the files.*No space"):
        engine.erase(numbers[:3], purge=True)
    assert engine.count() == 6


def test_a_reader_goes_on_while_another_purges(tmp_path: Path):
    ours, theirs = LanceEngine(tmp_path, K, V), LanceEngine(tmp_path, K, V)
    keys, values = rows(60)
    numbers = ours.add(keys, values)
    assert theirs.search(keys[:1], 1).rows.item() == 0
    scan = theirs.scan(size=20)
    next(scan)
    for n in range(1, 5):
        ours.erase(numbers[n : n + 1], purge=True)
    assert sum(len(block.origins) for block in scan) == 40
    found = theirs.search(keys, 1).rows.squeeze(-1)
    assert not torch.isin(found, numbers[1:5]).any()
    assert theirs.origins(numbers[:1])[0] is not None


def test_files_are_found_at_every_offset_and_across_blocks(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(disk_upkeep, "BLOCK", 64)
    noise, text = os.urandom(500), os.urandom(40)
    for offset in range(0, 460, 7):
        (tmp_path / "file").write_bytes(noise[:offset] + text + noise[offset:])
        assert list(remaining(tmp_path, [text, os.urandom(40)])) == [(tmp_path / "file", text)]
    (tmp_path / "file").write_bytes(noise + text[:-1])
    assert not list(remaining(tmp_path, [text]))
    (tmp_path / "file").write_bytes(b"abc")
    assert not list(remaining(tmp_path, [text, b"abc"]))


def test_what_may_occur_by_chance_is_not_searched_for():
    keys = np.array([[0, 0, 0, 1], [1, 2, 3, 4]], np.float32)
    assert worth_searching(keys, ["ab"]) == {keys[1].tobytes(), b"ab"}


def test_fragments_are_merged_as_in_a_merge_tree():
    def places(*sizes: int) -> np.ndarray:
        return np.concatenate([np.arange(size) + (n << 32) for n, size in enumerate(sizes)]).astype(np.uint64)

    assert mergeable(places(100, 1)) == []
    assert mergeable(places(100, *[1] * 60)) == list(range(61))
    assert mergeable(places(1000, *[1] * 60)) == list(range(1, 61))
    assert mergeable(places(5)) == []
    assert mergeable(np.empty(0, np.uint64)) == []


def test_many_commits_leave_few_files(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(disk_writer, "MERGE_EVERY", 8)
    monkeypatch.setattr(disk_writer, "CLEAN_EVERY", 64)
    monkeypatch.setattr(disk_writer, "KEPT", 0.0)
    engine = LanceEngine(tmp_path, K, V)
    keys, values = rows(150)
    numbers = torch.cat([engine.add(keys[n : n + 1], values[n : n + 1], f"s{n}") for n in range(150)])
    assert engine.erase(numbers[::10]) == 15
    table = tmp_path / "rows.lance"
    assert len(list((table / "_versions").iterdir())) < 80
    assert len(list((table / "data").iterdir())) < 80
    kept = numbers[[n for n in range(150) if n % 10]]
    assert [o.row for block in engine.scan() for o in block.origins] == kept.tolist()
    assert torch.equal(engine.search(keys[[7]], 1).rows, numbers[[7]][None])
    engine.compact()
    assert len(list((table / "data").iterdir())) == 1
    assert engine.count() == 135


def test_upkeep_that_fails_loses_no_row(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(disk_writer, "MERGE_EVERY", 4)
    engine = LanceEngine(tmp_path, K, V)
    engine.add(*rows(1))
    engine.add(*rows(1))

    def full(self, fragments):
        raise RuntimeError("lance error: LanceError(IO): No space left on device (os error 28)")

    monkeypatch.setattr(LanceTable, "rewrite", full)
    with pytest.warns(UserWarning, match=re.escape(f"{tmp_path}: small files could not be merged")):
        engine.add(*rows(1))  # version 4
    assert engine.count() == 3
