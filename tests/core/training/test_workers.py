"""How many processes load: by cores, by what items cost, and never more than there is room for."""

import os
import signal
from types import SimpleNamespace

import pytest
import torch
from recollect_tiny.data import RecallData

from recollect.training import workers
from recollect.training.workers import ROOM, leave_signals_to_trainer, suggested_workers


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Fake the number of cores, the free bytes of shared memory, and how Python starts processes."""

    def fake(cores: int, room: int = ROOM, start: str = "fork") -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
        monkeypatch.setattr(workers.shutil, "disk_usage", lambda path: SimpleNamespace(free=room))
        monkeypatch.setattr(workers.multiprocessing, "get_start_method", lambda: start)

    return fake


class Costly(RecallData):
    def is_costly(self, split: str) -> bool:
        return split == "train"


@pytest.mark.parametrize(
    ("cores", "processes", "expected"),
    [(1, 1, 0), (2, 1, 0), (3, 1, 2), (4, 1, 3), (16, 1, 8), (16, 4, 3), (16, 8, 0), (64, 8, 7)],
)
def test_the_cores_are_shared_and_one_trains(machine, cores: int, processes: int, expected: int):
    machine(cores)
    assert suggested_workers(batches=100, processes=processes) == expected


def test_there_are_no_more_workers_than_batches(machine):
    machine(16)
    assert suggested_workers(batches=3, processes=1) == 3


@pytest.mark.parametrize("lacking", [{"room": ROOM - 1}, {"start": "spawn"}])
def test_without_shared_memory_or_fork_the_training_process_loads(machine, lacking: dict):
    machine(16, **lacking)
    assert suggested_workers(batches=100, processes=1) == 0


def workers_of(data: RecallData, split: str) -> int:
    return data.loader(split)._loader.num_workers


def test_only_costly_items_are_worth_a_process(machine):
    machine(16)
    assert [workers_of(Costly(), split) for split in ("train", "val")] == [6, 0]
    assert workers_of(RecallData(), "train") == 0


def test_a_number_that_is_given_is_taken(machine):
    machine(16)
    assert workers_of(Costly(num_workers=0), "train") == 0
    assert workers_of(RecallData(num_workers=1), "val") == 1


def test_batches_are_the_same_for_every_number_of_cores(machine):
    batches = {}
    for cores in (1, 4):
        machine(cores)
        batches[cores] = [
            torch.cat([part.float().flatten() for part in batch]) for batch in Costly().loader("train")
        ]
    assert len(batches[1]) == 6
    assert all(torch.equal(one, other) for one, other in zip(batches[1], batches[4], strict=True))


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_leaves_the_batches_to_come(signum: signal.Signals):
    loader = RecallData(batch_size=4, size=64, num_workers=1).loader("train")
    batches = iter(loader)
    next(batches)
    for worker in loader._loader._iterator._workers:
        os.kill(worker.pid, signum)
    assert len(list(batches)) == 15


def test_workers_end_with_the_stage_and_after_an_error():
    for end in (lambda data: data.teardown("fit"), lambda data: data.on_exception(RuntimeError())):
        data = RecallData(batch_size=4, size=64, num_workers=2)
        loader = data.loader("train")
        next(iter(loader))
        workers = loader._loader._iterator._workers
        end(data)
        assert not any(worker.is_alive() for worker in workers)
        assert len(list(loader)) == 16  # a later pass starts others
        data.teardown("fit")


def test_a_second_sigterm_ends_a_worker(monkeypatch: pytest.MonkeyPatch):
    handlers = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    leave_signals_to_trainer(0)
    assert handlers[signal.SIGINT] == signal.SIG_IGN
    handlers[signal.SIGTERM](signal.SIGTERM, None)  # the first
    assert handlers[signal.SIGTERM] == signal.SIG_DFL
