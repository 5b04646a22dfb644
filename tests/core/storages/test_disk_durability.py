"""What a storage on disk promises when processes are killed, when many write, and when the disk refuses."""

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from recollect.storages.disk_engine import LanceEngine

K, V = 8, 1
SCRIPT = Path(__file__).with_name("disk_worker.py")
NOBODY = 65534


class Writers:
    """Processes that write to a store, and what they have said."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, path: Path, seed: int, batches: int, largest: int, writers: int) -> list[int]:
        """Start writers, and return their process ids."""
        self.process.stdin.write(f"{path} {seed} {batches} {largest} {writers}\n")
        self.process.stdin.flush()
        self.early: list[list[str]] = []
        for line in self.process.stdout:
            word, *rest = line.split()
            if word == "pids":
                return [int(child) for child in rest]
            self.early.append([word, *rest])
        raise AssertionError("the process that forks writers has died")

    def lines(self) -> Iterator[list[str]]:
        """What they say until they end, as words."""
        yield from self.early
        for line in self.process.stdout:
            words = line.split()
            if words == ["ended"]:
                return
            assert words[0] != "failed", line
            yield words

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def writers() -> Iterator[Writers]:
    started = Writers()
    yield started
    started.close()


class Ledger:
    """What must be in a store, by what its writers have said: sizes of batches by name."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self.open: dict[str, int] = {}  # whole or absent: the writer was killed in between
        self.rows: dict[str, range] = {}

    def note(self, word: str, name: str, *numbers: str) -> None:
        size = int(name.split("-")[-1])
        if word in ("begin", "forget"):
            self.open[name] = size
            self.held.pop(name, None)
        else:
            del self.open[name]
            if word == "added":
                self.held[name] = size
                self.rows[name] = range(int(numbers[0]), int(numbers[1]) + 1)

    def check(self, engine: LanceEngine) -> None:
        stored = engine.sources()
        unsure = {name: size for name, size in stored.items() if name not in self.held}
        assert {name: size for name, size in stored.items() if name in self.held} == self.held
        assert all(self.open.get(name) == size for name, size in unsure.items()), "half-written or not erased"

    def check_rows(self, engine: LanceEngine) -> None:
        """Every row has its number, which no other ever had, and its key and value."""
        numbers = [row for rows in self.rows.values() for row in rows]
        assert len(set(numbers)) == len(numbers), "a number was used twice"
        for block in engine.scan(size=10_000):
            for key, value, origin in zip(block.keys, block.values, block.origins, strict=True):
                seed, batch, size = map(int, origin.source.split("-"))
                assert float(value) == batch
                if origin.source in self.rows:
                    place = self.rows[origin.source].index(origin.row)
                    drawn = torch.Generator().manual_seed(seed * 1000 + batch)
                    assert torch.equal(key, torch.randn(size, K, generator=drawn)[place])


def kill_writers(writers: Writers, path: Path, times: int) -> None:
    engine, ledger, draw = LanceEngine(path, K, V), Ledger(), random.Random(0)
    for seed in range(times):
        (child,) = writers.start(path, seed, 1000, 8, 1)
        lines = writers.lines()
        for _ in range(draw.randint(1, 12)):
            ledger.note(*next(lines))
        time.sleep(draw.random() * 0.01)
        os.kill(child, signal.SIGKILL)
        for words in lines:
            ledger.note(*words)
        ledger.check(engine)
        ledger.check(LanceEngine(path, K, V))
    assert len(ledger.held) >= times // 2
    ledger.check_rows(engine)
    assert int(engine.add(torch.ones(1, K), torch.ones(1, V))) > max(
        rows[-1] for rows in ledger.rows.values()
    )


@pytest.mark.thorough
def test_what_a_killed_process_has_written_is_there(writers: Writers, tmp_path: Path):
    kill_writers(writers, tmp_path, 6)


@pytest.mark.thorough
def test_what_a_hundred_killed_processes_have_written_is_there(writers: Writers, tmp_path: Path):
    kill_writers(writers, tmp_path, 100)


def write_together(writers: Writers, path: Path, batches: int, largest: int) -> int:
    engine, ledger = LanceEngine(path, K, V), Ledger()
    writers.start(path, 0, batches, largest, 6)
    looks = 0
    for word, name, *numbers in writers.lines():
        ledger.note(word, name, *numbers)
        if word == "erased" and looks < 20:
            looks += 1
            assert name not in engine.sources(), "an erase is seen at once"
    assert not ledger.open
    ledger.check(engine)
    ledger.check_rows(engine)
    assert engine.count() == sum(ledger.held.values())
    return sum(len(rows) for rows in ledger.rows.values())


def test_six_processes_write_at_once_and_none_of_their_rows_is_lost(writers: Writers, tmp_path: Path):
    assert write_together(writers, tmp_path, 6, 30) > 36


@pytest.mark.thorough
def test_six_processes_write_a_hundred_thousand_rows(writers: Writers, tmp_path: Path):
    assert write_together(writers, tmp_path, 170, 200) > 90_000


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, as if the disk were full then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_loses_nothing(tmp_path: Path):
    engine = LanceEngine(tmp_path, K, V)
    keys, values = torch.randn(2000, K), torch.randn(2000, V)
    numbers = engine.add(keys[:10], values[:10], sources="before")
    with largest_file(20_000), pytest.raises(OSError, match="nothing was changed in the store") as caught:
        engine.add(keys, values, sources="lost")
    assert str(tmp_path) in str(caught.value)
    assert engine.sources() == LanceEngine(tmp_path, K, V).sources() == {"before": 10}
    later = engine.add(keys, values, sources="after")
    assert later.min() > numbers.max()
    assert engine.count() == 2010


@pytest.mark.parametrize("size", [0, 100])
def test_an_erase_on_a_full_disk_loses_nothing(tmp_path: Path, size: int):
    engine = LanceEngine(tmp_path, K, V)
    numbers = engine.add(torch.randn(9, K), torch.randn(9, V))
    with largest_file(size), pytest.raises(OSError, match="nothing was changed in the store"):
        engine.erase(numbers[:4])
    assert engine.count() == LanceEngine(tmp_path, K, V).count() == 9
    assert engine.erase(numbers[:4]) == 4


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A store in a folder that this process may read, but not write to, also if it is root."""
    folder = Path(tempfile.mkdtemp())
    LanceEngine(folder / "store", K, V).add(torch.ones(3, K), torch.ones(3, V), sources="kept")
    parts = [folder, *folder.rglob("*")]
    for path in parts:
        path.chmod(0o555 if path.is_dir() else 0o444)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        os.seteuid(user)
        for path in parts:
            path.chmod(0o755)
        shutil.rmtree(folder)


def test_a_folder_that_is_read_only_can_be_read(read_only: Path):
    engine = LanceEngine(read_only / "store", K, V)
    assert engine.sources() == {"kept": 3}
    assert engine.search(torch.ones(1, K), 3).rows.tolist() == [[0, 1, 2]]
    refused = "nothing was changed in the store, Permission denied"
    with pytest.raises(PermissionError, match=refused):
        engine.add(torch.ones(1, K), torch.ones(1, V))
    with pytest.raises(PermissionError, match=refused):
        engine.erase(torch.tensor([0]))
    with pytest.raises(PermissionError, match=refused):
        engine.claim("model")
    with pytest.raises(PermissionError, match=refused):
        LanceEngine(read_only / "another", K, V)
    assert engine.count() == 3


def test_a_writer_that_hangs_is_named(tmp_path: Path):
    engine = LanceEngine(tmp_path, K, V, timeout=0.2)
    with engine._folder.locked():
        other = LanceEngine(tmp_path, K, V, timeout=0.2)
        with pytest.raises(TimeoutError, match=r"another process has held the lock for 0\.2 s"):
            other.add(torch.ones(1, K), torch.ones(1, V))
    assert other.add(torch.ones(1, K), torch.ones(1, V)).tolist() == [0]


def test_an_engine_says_that_it_does_not_survive_a_fork(tmp_path: Path):
    engine = LanceEngine(tmp_path, K, V)
    engine._process -= 1  # as if this were the process that was forked
    with pytest.raises(RuntimeError, match="'spawn'"):
        engine.count()
