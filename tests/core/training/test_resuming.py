"""A run that was stopped, wherever, and resumed is the uninterrupted run, to the bit."""

import csv
import os
import signal
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch
from recollect_tiny.task import RecallTask
from torch import Tensor

from .conftest import Command, only_run, results, run_tiny

CALLBACKS = {
    "moving": ["recollect.training.callbacks.MovingAverage", "--trainer.callbacks.decay", "0.9"],
    "last": [
        "recollect.training.callbacks.checkpoint_averaging.CheckpointAveraging",
        "--trainer.callbacks.count=3",
        "--trainer.callbacks.every_n_steps=2",
    ],
}
FIT = ["fit", "--config", "noisy"]  # 3 epochs of 6 steps

ONE_CYCLE = ["--model.scheduler", "torch.optim.lr_scheduler.OneCycleLR", "--model.scheduler.max_lr", "0.05"]
ONE_CYCLE += ["--model.scheduler.total_steps", "18", "--model.scheduler_interval", "step"]

Condition = Callable[[RecallTask], bool]


def averaging(kind: str) -> list[str]:
    return ["--trainer.callbacks+", *CALLBACKS[kind]]


def signal_once(monkeypatch: pytest.MonkeyPatch, hook: str, when: Condition) -> list[int]:
    """Send SIGTERM when ``hook`` of the task is called and ``when`` holds, once."""
    original, sent = getattr(RecallTask, hook), list[int]()

    @wraps(original)
    def hooked(self: RecallTask, *args: Any, **kwargs: Any) -> Any:
        fitting = self.trainer.state.fn == "fit" and not self.trainer.sanity_checking
        if fitting and not sent and when(self):
            sent.append(self.global_step)
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(RecallTask, hook, hooked)
    return sent


def logged(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def last(run: Path) -> dict[str, Any]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def differing(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two nested values differ."""
    if isinstance(one, Tensor):
        return [] if torch.equal(one, other) else [place]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{place}: {sorted(map(str, one.keys() ^ other.keys()))}"]
        return [found for key in one for found in differing(one[key], other[key], f"{place}/{key}")]
    if isinstance(one, list | tuple):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for i, (a, b) in pairs for found in differing(a, b, f"{place}/{i}")]
    return [] if one == other else [f"{place}: {one} != {other}"]


def assert_same(run: Path, straight: Path) -> None:
    assert logged(run) == logged(straight)
    assert results(run)["metrics"] == results(straight)["metrics"]
    kept, expected = last(run), last(straight)
    parts = ("state_dict", "optimizer_states", "lr_schedulers", "random_states", "epoch", "global_step")
    averages = ("current_model_state", "averaging_state", "checkpoint_averaging")
    assert "current_model_state" in expected or "checkpoint_averaging" in expected
    for part in (*parts, *(name for name in averages if name in expected)):
        assert differing(kept[part], expected[part], part) == []
    for name, state in expected["callbacks"].items():
        if name.startswith("ModelCheckpoint"):
            assert kept["callbacks"][name]["best_model_score"] == state["best_model_score"]
            assert (
                Path(kept["callbacks"][name]["best_model_path"]).name == Path(state["best_model_path"]).name
            )


@pytest.fixture(scope="module", params=[pytest.param("moving", marks=pytest.mark.thorough), "last"])
def averaged(request: pytest.FixtureRequest) -> list[str]:
    return averaging(request.param)


@pytest.fixture(scope="module")
def straight(averaged: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("straight")
    run_tiny(root, *FIT, *averaged)
    return only_run(root, "noisy")


def in_epoch(number: int) -> Condition:
    return lambda task: task.current_epoch == number


@pytest.mark.parametrize(
    ("hook", "when", "step"),
    [
        ("training_loss", lambda task: task.global_step == 8, 9),  # in mid-epoch
        ("training_loss", lambda task: task.global_step == 11, 12),  # in the last batch of an epoch
        ("on_validation_epoch_end", in_epoch(1), 12),  # between two epochs
        ("on_train_epoch_start", in_epoch(1), 7),
        ("evaluate", in_epoch(1), 12),  # in validation
        ("on_train_epoch_end", in_epoch(1), 13),
        ("evaluate", in_epoch(2), 18),  # in the last validation
        ("on_train_epoch_end", in_epoch(2), 18),  # when everything is done
    ],
)
def test_a_stopped_and_resumed_run_is_the_uninterrupted_one(
    hook: str,
    when: Condition,
    step: int,
    averaged: list[str],
    straight: Path,
    tiny: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    sent = signal_once(monkeypatch, hook, when)
    with pytest.raises(SystemExit) as stop:
        tiny(*FIT, *averaged)
    assert stop.value.code == 143
    assert sent
    run = only_run(tmp_path, "noisy")
    assert last(run)["global_step"] == step
    tiny("fit", "--config", "noisy", "--ckpt_path", "last")
    assert_same(run, straight)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("flags", "hook", "when"),
    [
        pytest.param(
            ["--data.num_workers", "2"], "training_loss", lambda t: t.global_step == 8, id="workers"
        ),
        pytest.param(["--data.num_workers", "2"], "evaluate", in_epoch(1), id="workers in validation"),
        pytest.param(
            ["--trainer.accumulate_grad_batches", "4"],  # a step of 4 batches and one of 2
            "training_loss",
            lambda task: task.trainer.fit_loop.total_batch_idx == 7,
            id="accumulation",
        ),
        pytest.param(
            ["--trainer.accumulate_grad_batches", "4", "--trainer.val_check_interval", "3"],
            "evaluate",
            in_epoch(1),
            id="validation while gradients accumulate",
        ),
        pytest.param(
            ["--trainer.val_check_interval", "0.5"], "training_loss", lambda t: t.global_step == 8, id="due"
        ),
        pytest.param(["--trainer.val_check_interval", "0.5"], "evaluate", in_epoch(1), id="within an epoch"),
        pytest.param(
            ["--trainer.val_check_interval", "0.5"], "on_validation_epoch_end", in_epoch(1), id="after one"
        ),
        pytest.param(
            ["--trainer.val_check_interval", "4"],
            "on_train_epoch_end",
            in_epoch(2),
            id="steps after the last",
        ),
        pytest.param(
            ONE_CYCLE, "training_loss", lambda task: task.global_step == 3, id="a schedule of steps"
        ),
        pytest.param(["--trainer.max_steps", "12"], "evaluate", in_epoch(1), id="after the last step"),
        pytest.param(
            ["--trainer.max_steps", "9", "--trainer.val_check_interval", "3"],
            "evaluate",
            in_epoch(1),
            id="after the last step, in mid-epoch",
        ),
        pytest.param(
            ["--trainer.check_val_every_n_epoch", "2"],
            "training_loss",
            lambda t: t.global_step == 5,
            id="none",
        ),
    ],
)
def test_so_it_is_with_other_ways_to_train(
    flags: list[str],
    hook: str,
    when: Condition,
    tiny: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    fit = [*FIT, *averaging("moving"), *flags]
    run_tiny(tmp_path / "straight", *fit)
    sent = signal_once(monkeypatch, hook, when)
    with pytest.raises(SystemExit) as stop:
        tiny(*fit)
    assert stop.value.code == 143
    assert sent
    run = only_run(tmp_path, "noisy")
    tiny("fit", "--config", "noisy", "--ckpt_path", "last", "--data.num_workers", "0")
    assert_same(run, only_run(tmp_path / "straight", "noisy"))


def test_a_checkpoint_without_random_states_is_gone_on_from_with_a_note(
    tiny: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    signal_once(monkeypatch, "training_loss", lambda task: task.global_step == 8)
    with pytest.raises(SystemExit):
        tiny(*FIT)
    run = only_run(tmp_path, "noisy")
    checkpoint = last(run)
    del checkpoint["random_states"], checkpoint["interruption"], checkpoint["recollect"]["package"]
    torch.save(checkpoint, run / "checkpoints" / "last.ckpt")
    tiny("fit", "--config", "noisy", "--ckpt_path", "last")
    assert results(run)["steps"] == 18
    assert (
        "note: of the states of random number generators the checkpoint has none" in capsys.readouterr().out
    )


def test_training_that_had_stopped_early_stays_stopped(
    tiny: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    early = ["--trainer.callbacks+", "EarlyStopping", "--trainer.callbacks.monitor", "val/loss"]
    early += ["--trainer.callbacks.patience", "1", "--trainer.callbacks.mode", "max"]
    run_tiny(tmp_path / "straight", *FIT, *averaging("moving"), *early)
    straight = only_run(tmp_path / "straight", "noisy")
    assert results(straight)["steps"] == 12
    signal_once(monkeypatch, "on_validation_epoch_end", in_epoch(1))
    with pytest.raises(SystemExit):
        tiny(*FIT, *averaging("moving"), *early)
    tiny("fit", "--config", "noisy", "--ckpt_path", "last")
    assert_same(only_run(tmp_path, "noisy"), straight)


@pytest.mark.parametrize("flags", [["--trainer.fast_dev_run", "2"], ["--trainer.max_epochs", "2"]])
def test_training_cannot_go_on_from_beyond_its_end(
    flags: list[str], copied: Path, tiny: Command, capsys: pytest.CaptureFixture[str]
):
    before = {path: path.read_bytes() for path in (copied / "checkpoints").iterdir()}
    with pytest.raises(SystemExit) as stop:
        tiny("fit", "--ckpt_path", "last", *flags)
    assert stop.value.code == 2
    assert "You restored a checkpoint with current_epoch=3" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (copied / "checkpoints").iterdir()} == before


def test_a_batch_of_a_validation_that_takes_too_long_is_given_up(
    tiny: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run_tiny(tmp_path / "straight", *FIT, *averaging("moving"))
    monkeypatch.setattr("recollect.training.callbacks.signals.GRACE", 0.3)
    quick, began = RecallTask.evaluate, []

    def slow(self: RecallTask, batch: Any, metrics: Any) -> Tensor:
        found = quick(self, batch, metrics)
        if self.trainer.state.fn == "fit" and self.global_step == 12 and not began:
            began.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGTERM)
            while time.monotonic() < began[0] + 60:
                torch.zeros(1)
        return found

    monkeypatch.setattr(RecallTask, "evaluate", slow)
    with pytest.raises(SystemExit) as stop:
        tiny(*FIT, *averaging("moving"))
    assert stop.value.code == 143
    assert time.monotonic() - began[0] < 10
    run = only_run(tmp_path, "noisy")
    tiny("fit", "--config", "noisy", "--ckpt_path", "last")
    assert_same(run, only_run(tmp_path / "straight", "noisy"))


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_other_commands_end_at_once_and_leave_nothing(
    command: str,
    name: str,
    code: int,
    copied: Path,
    tiny: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    before = sorted(copied.rglob("*"))

    def stopped(self: RecallTask, batch: Any) -> Tensor:
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(20)
        raise AssertionError("the signal was ignored")

    monkeypatch.setattr(RecallTask, "_logits", stopped)
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(SystemExit) as stop:
        tiny(command, "--ckpt_path", "last")
    assert stop.value.code == code
    assert f"recollect-tiny: stopped by {name}" in capsys.readouterr().err
    assert sorted(copied.rglob("*")) == before
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.parametrize("hook", ["build_model", "prepare_data"])
def test_a_fit_that_has_not_begun_to_train_ends_at_once(
    hook: str, tiny: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from recollect_tiny.data import RecallData

    def stopped(*args: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)
        raise AssertionError("the signal was ignored")

    monkeypatch.setattr(RecallTask if hook == "build_model" else RecallData, hook, stopped)
    with pytest.raises(SystemExit) as stop:
        tiny("fit")
    assert stop.value.code == 143
    assert not list(tmp_path.rglob("*.*"))
