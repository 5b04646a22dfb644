"""Runs know whose they are, keep a best checkpoint, and can be moved."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from .conftest import Command, only_run, results
from .test_cli import contents


def change(path: Path, **signature: Any) -> None:
    """Sign a checkpoint otherwise; ``None`` takes a part of the signature away."""
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["recollect"] |= signature
    checkpoint["recollect"] = {name: value for name, value in checkpoint["recollect"].items() if value}
    torch.save(checkpoint, path)


def test_runs_are_filed_and_signed_by_package(trained: Path):
    assert trained.parts[-4:-1] == ("runs", "tiny", "recall")
    assert results(trained)["package"] == "recollect_tiny"
    saved = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["recollect"]["package"] == "recollect_tiny"


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize("given", ["by name", "by path", "by config"])
def test_another_packages_run_is_refused_and_left_alone(
    command: str, given: str, copied: Path, tiny: Command, capsys: pytest.CaptureFixture[str]
):
    change(copied / "checkpoints" / "last.ckpt", package="recollect_other")
    before = contents(copied.parents[2])
    args = {
        "by name": ["--ckpt_path", "last"],
        "by path": ["--ckpt_path", str(copied / "checkpoints" / "last.ckpt")],
        "by config": ["--config", str(copied / "config.yaml"), "--ckpt_path", "last"],
    }[given]
    with pytest.raises(SystemExit) as stop:
        tiny(command, *args)
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert "is of recollect_other, not of recollect_tiny: use recollect-other" in line
    assert contents(copied.parents[2]) == before


def test_without_a_package_the_task_says_whose_a_checkpoint_is(
    copied: Path, tiny: Command, capsys: pytest.CaptureFixture[str]
):
    path = copied / "checkpoints" / "last.ckpt"
    change(path, package=None)
    tiny("test", "--ckpt_path", "last")  # recollect_tiny.task.RecallTask
    change(path, task="recollect_other.tasks.Task")
    with pytest.raises(SystemExit) as stop:
        tiny("test", "--ckpt_path", "last")
    assert stop.value.code == 1
    assert "is of recollect_other" in capsys.readouterr().err
    change(path, task="mine.Task")  # a user's own: only the task itself is compared
    with pytest.raises(SystemExit):
        tiny("test", "--ckpt_path", "last")
    assert "has mine.Task for its task" in capsys.readouterr().err


def test_a_config_with_another_packages_task_is_refused(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from recollect.training.cli import main

    before = contents(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main("recollect_nlp", "stories", ["fit", "--config", str(copied / "config.yaml")])
    assert stop.value.code == 1
    assert "RecallTask is not a task of recollect-nlp: use recollect-tiny" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_paths_in_results_are_relative_to_the_run_folder(copied: Path, tiny: Command, tmp_path: Path):
    best = results(copied)["checkpoint"]
    assert (copied / best).is_file()
    assert best.startswith("checkpoints/epoch=")
    tiny("test", "--ckpt_path", "best")
    assert results(copied / "test")["checkpoint"] == best
    alone = tmp_path / "alone.ckpt"
    shutil.copy(copied / best, alone)
    tiny("test", "--config", "recall", "--ckpt_path", str(alone))
    (other,) = set(copied.parent.iterdir()) - {copied}
    assert results(next(other.glob("**/results.json")).parent)["checkpoint"] == str(alone)


def test_a_config_without_a_checkpoint_of_its_own_keeps_the_best_and_tests_the_last(
    tiny: Command, tmp_path: Path
):
    tiny("fit", "--trainer.callbacks", "null", "--trainer.max_epochs", "2", "--model.optimizer.lr", "3")
    run = only_run(tmp_path)
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    found = results(run)
    assert found["checkpoint"] == "checkpoints/last.ckpt"
    tiny("test", "--ckpt_path", "last")
    assert results(run / "test")["metrics"] == found["metrics"]
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    (kept,) = [state for name, state in last.items() if name.startswith("BestCheckpoint")]
    rows = (run / "metrics.csv").read_text().splitlines()
    place = rows[0].split(",").index("val/loss")
    losses = [float(row.split(",")[place]) for row in rows[1:] if row.split(",")[place]]
    assert float(kept["best_model_score"]) == pytest.approx(min(losses))
    tiny("test", "--ckpt_path", "best")
    assert results(run / "test-2")["checkpoint"] == "checkpoints/best.ckpt"


def test_where_no_loss_is_measured_no_best_checkpoint_is_kept(
    tiny: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from recollect_tiny.task import RecallTask

    measure = RecallTask.evaluate
    monkeypatch.setattr(
        RecallTask, "evaluate", lambda self, batch, metrics: measure(self, batch, metrics) and None
    )
    tiny("fit", "--trainer.callbacks", "null", "--trainer.max_epochs", "1")
    assert [path.name for path in (only_run(tmp_path) / "checkpoints").iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("amount", ["1", "2", "0.5"])
def test_overfitting_trains_on_the_same_batches_in_every_epoch(
    amount: str, tiny: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from recollect_tiny.task import RecallTask

    seen: dict[int, list[Any]] = {}
    loss = RecallTask.training_loss

    def kept(self: RecallTask, batch: Any) -> Any:
        seen.setdefault(self.current_epoch, []).append([part.tolist() for part in batch])
        return loss(self, batch)

    monkeypatch.setattr(RecallTask, "training_loss", kept)
    tiny("fit", "--config", "noisy", "--trainer.overfit_batches", amount)
    assert len(seen) == 3
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0]) == {"1": 1, "2": 2, "0.5": 3}[amount]
    assert json.dumps(seen[0][0]) != json.dumps(seen[0][-1]) or len(seen[0]) == 1


def test_a_resumed_run_goes_on_in_its_wandb_run(
    tiny: Command, tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
):
    tiny("fit", "--config", "recall", "--config", "wandb", "--trainer.max_epochs", "1")
    run = only_run(tmp_path)
    tiny("fit", "--ckpt_path", "last", "--trainer.max_epochs", "2")
    written = [path.name for path in (run / "wandb").glob("offline-run-*/*.wandb")]
    number = (run / "wandb" / "run-id").read_text().strip()
    assert written == [f"run-{number}.wandb"] * 2
    said = capfd.readouterr()
    assert "already in progress" not in said.out + said.err
    assert not [each for each in recwarn if "progress" in str(each.message)]
