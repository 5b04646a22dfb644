"""The command line: what runs, what it leaves behind, and what it refuses."""

import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from recollect.training.results import code_commit

from .conftest import Command, only_run, results

PACKAGES = Path(__file__).parent / "packages"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_help_comes_before_heavy_imports():
    code = (
        "import sys; from recollect_tiny.cli import main; main(['--help']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'lightning', 'recollect')))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(PACKAGES)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert "recall" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1  # whatever else is running


def test_bare_fit_trains_the_default_and_leaves_all_in_one_folder(trained: Path):
    assert trained.parent.name == "recall"
    for name in (
        "config.yaml",
        "metrics.csv",
        "results.json",
        "checkpoints/last.ckpt",
        "figures/test-read-1.png",
    ):
        assert (trained / name).stat().st_size > 0, name
    assert list((trained / "tensorboard").glob("events*"))
    found = results(trained)
    assert found["metrics"]["test/accuracy"] == 1
    assert found["metrics"]["test/error"] == 0
    assert {"seed", "device", "seconds", "parameters", "config", "checkpoint"} <= found.keys()
    saved = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    assert found["seconds"] == pytest.approx(saved["Timer"]["time_elapsed"]["train"], rel=0.5)
    assert found["command_line"][:2] == ["recollect-tiny", "fit"]
    assert found["command_line"][2:4] == ["--trainer.default_root_dir", str(trained.parents[3])]
    assert found["commit"] == code_commit()
    assert found["parameters"] == 197
    assert found["steps"] == 24
    logged = metrics(trained)
    assert sum(bool(row["train/loss"]) for row in logged) == 24
    assert sum(bool(row["val/accuracy"]) for row in logged) == 4
    assert float(logged[-1]["test/loss"]) == found["metrics"]["test/loss"]


def test_fit_logs_memory_figures(trained: Path):
    for row in metrics(trained):
        if row["val/accuracy"]:
            assert float(row["memory/memory.storage/occupancy"]) == 1
            assert float(row["memory/memory.storage/age"]) == 2.5
            assert 0 <= float(row["memory/memory/read_entropy"]) < 1.4


def test_tensorboard_gets_config_figures(trained: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert "test/read-1" in tags["images"]
    assert {"train/loss", "val/accuracy", "memory/memory.storage/occupancy"} <= set(tags["scalars"])
    config = (trained / "tensorboard" / "hparams.yaml").read_text()
    assert "recollect_tiny.task.RecallTask" in config


def test_fit_reports_the_best_checkpoint_not_the_last(tiny: Command, tmp_path: Path):
    tiny("fit", "--trainer.max_epochs", "2", "--trainer.callbacks.init_args.mode", "min")
    found = results(only_run(tmp_path))
    assert "epoch=0" in found["checkpoint"]  # accuracy was least then
    tiny("test", "--ckpt_path", "best")
    again = results(only_run(tmp_path) / "test")
    assert again["metrics"]["test/loss"] == found["metrics"]["test/loss"]


def test_config_is_resolved_and_gives_the_same_run_again(trained: Path, tiny: Command, tmp_path: Path):
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["model"]["init_args"]["size"] == 16  # a default that no config names
    tiny("fit", "--config", str(trained / "config.yaml"))
    again = only_run(tmp_path)  # under the same name: recall
    assert results(again)["metrics"] == results(trained)["metrics"]


def test_overlays_and_flags_come_on_top(tiny: Command, tmp_path: Path):
    tiny("fit", "--config", "recall", "--config=small", "--data.size", "20", "--trainer.max_epochs", "1")
    config = results(only_run(tmp_path))["config"]
    assert config["model"]["init_args"]["size"] == 8
    assert config["data"]["init_args"]["size"] == 20
    assert config["trainer"]["max_epochs"] == 1


def test_second_run_overwrites_nothing(copied: Path, tiny: Command):
    before = contents(copied)
    tiny("fit", "--trainer.max_epochs", "1")
    assert contents(copied) == before
    assert len(list(copied.parent.iterdir())) == 2


def test_fast_dev_run_leaves_nothing(tiny: Command, tmp_path: Path):
    tiny("fit", "--trainer.fast_dev_run", "1")
    assert contents(tmp_path) == {}


def test_wandb_is_added_to_the_other_loggers(tiny: Command, tmp_path: Path):
    tiny("fit", "--config", "wandb", "--trainer.max_epochs", "1")
    run = only_run(tmp_path)
    (offline,) = (run / "wandb").glob("offline-run-*")
    assert list(offline.glob("files/media/images/test/*.png"))
    assert metrics(run)
    assert list((run / "tensorboard").glob("events*"))
    (record,) = offline.glob("*.wandb")
    # W&B's own process writes the file, some time after the run has ended.
    patience = time.monotonic() + 30
    expected = (b"recollect_tiny.task.RecallTask", b"memory/memory.storage/occupancy")  # config and figures
    while not all(part in record.read_bytes() for part in expected) and time.monotonic() < patience:
        time.sleep(0.1)
    assert all(part in record.read_bytes() for part in expected)


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--trainer.max_epoch", "3"], "--trainer.max_epoch"),  # no abbreviation hides it
        (["--model.hops", "3"], "hops"),
        (["--data.batchsize", "3"], "batchsize"),
        (["--model.size", "many"], "many"),
        (["--config", "recal"], "'recall'"),
        (["--config", "missing.yaml"], "missing.yaml"),
        (["--ckpt_path"], "--ckpt_path"),
    ],
)
def test_a_wrong_argument_is_named(
    args: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from recollect_tiny.cli import main

    with pytest.raises(SystemExit) as stop:
        main(["fit", "--trainer.default_root_dir", str(tmp_path), *args])
    assert stop.value.code == 2
    assert named in capsys.readouterr().err
    assert contents(tmp_path) == {}


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]):
    from recollect_tiny.cli import main

    with pytest.raises(SystemExit) as stop:
        main(["train"])
    assert stop.value.code == 2
    assert "'train'" in capsys.readouterr().err


def test_typo_in_a_config_file_is_named(tiny: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "mine.yaml").write_text("trainer:\n  max_epoch: 3\n")
    with pytest.raises(SystemExit) as stop:
        tiny("fit", "--config", "recall", "--config", str(tmp_path / "mine.yaml"))
    assert stop.value.code == 2
    assert "max_epoch" in capsys.readouterr().err


def test_last_without_any_run_fails(tiny: Command, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        tiny("fit", "--ckpt_path", "last")
    assert stop.value.code == 1
    assert "no run of 'recall'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_evaluation_wants_a_checkpoint(command: str, tiny: Command, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        tiny(command)
    assert stop.value.code == 2
    assert "--ckpt_path" in capsys.readouterr().err


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT"])
def test_a_signal_leaves_a_checkpoint_and_resuming_gives_what_no_signal_would(
    signal: str, trained: Path, tiny: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as stop:
        tiny("fit", "--model.interrupt", f"[{signal},8]")  # in the middle of the second epoch
    assert stop.value.code == {"SIGTERM": 143, "SIGINT": 130}[signal]
    run = only_run(tmp_path)
    said = capsys.readouterr().out
    assert f"fit --config {run / 'config.yaml'} --ckpt_path last" in said
    tiny("fit", "--ckpt_path", "last", "--model.interrupt", "null")
    assert only_run(tmp_path) == run
    assert results(run)["metrics"] == results(trained)["metrics"]
    figures = ("step", "train/loss", "val/loss", "test/loss")
    assert [[row[name] for name in figures] for row in metrics(run)] == [
        [row[name] for name in figures] for row in metrics(trained)
    ]
    assert len(list((run / "checkpoints").glob("last*"))) == 1


def test_a_signal_in_the_last_batch_of_an_epoch_loses_no_validation(
    trained: Path, tiny: Command, tmp_path: Path
):
    with pytest.raises(SystemExit):
        tiny("fit", "--model.interrupt", "[SIGTERM,5]")
    run = only_run(tmp_path)
    tiny("fit", "--config", str(run / "config.yaml"), "--ckpt_path", "last", "--model.interrupt", "null")
    assert [row["val/loss"] for row in metrics(run)] == [row["val/loss"] for row in metrics(trained)]
    assert results(run)["metrics"] == results(trained)["metrics"]


def test_last_resumes_the_newest_run_of_that_config(copied: Path, tiny: Command):
    tiny("fit", "--ckpt_path", "last", "--trainer.max_epochs", "5")
    assert list(copied.parent.iterdir()) == [copied]
    assert results(copied)["steps"] == 30
    assert max(int(row["step"]) for row in metrics(copied)) == 30
    assert (copied / "config-1.yaml").exists()  # the config it had before
    assert yaml.safe_load((copied / "config.yaml").read_text())["trainer"]["max_epochs"] == 5


def test_fit_from_a_file_begins_a_run_of_its_own(copied: Path, tiny: Command):
    before = contents(copied)
    tiny("fit", "--ckpt_path", str(copied / "checkpoints" / "last.ckpt"), "--trainer.max_epochs", "5")
    assert contents(copied) == before
    (other,) = set(copied.parent.iterdir()) - {copied}
    assert results(other)["steps"] == 30


def test_test_and_validate_measure_the_checkpoint(copied: Path, tiny: Command):
    tiny("test", "--ckpt_path", "best")
    tiny("test", "--ckpt_path", "best")
    tiny("validate", "--ckpt_path", "last")
    expected = results(copied)["metrics"]
    for folder in ("test", "test-2"):
        assert results(copied / folder)["metrics"] == expected
    validated = results(copied / "validate")["metrics"]
    last = [row for row in metrics(copied) if row["val/loss"]][-1]
    assert validated["val/loss"] == pytest.approx(float(last["val/loss"]))


def test_predict_answers_a_file_with_the_runs_own_checkpoint(copied: Path, tiny: Command, tmp_path: Path):
    moved = tmp_path / "elsewhere"
    shutil.move(copied, moved)
    (tmp_path / "questions.txt").write_text("bob\nann\n")
    arguments = ("--config", str(moved / "config.yaml"), "--data.path", str(tmp_path / "questions.txt"))
    for checkpoint in ("last", "best", str(moved / "checkpoints" / "last.ckpt")):
        tiny("predict", *arguments, "--ckpt_path", checkpoint)
        answers = rows(moved / "predictions.jsonl")
        assert [answer["question"] for answer in answers] == ["bob", "ann"]
        assert all(0 < answer["probability"] <= 1 for answer in answers)
        (moved / "predictions.jsonl").unlink()
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs" / "tiny" / "recall").iterdir())


def test_predict_writes_where_it_is_told(
    copied: Path, tiny: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    output = tmp_path / "new" / "out.jsonl"
    tiny("predict", "--ckpt_path", "last", "--data.size", "37", "--output", str(output))
    capsys.readouterr()
    tiny("predict", "--ckpt_path", "last", "--data.size", "37", "--output", "-")
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 37
    assert [json.loads(line) for line in printed] == rows(output)
    assert not (copied / "predictions.jsonl").exists()
    assert [path.name for path in output.parent.iterdir()] == ["out.jsonl"]


def test_a_flag_wins_over_what_the_checkpoint_says(
    copied: Path, tiny: Command, capsys: pytest.CaptureFixture[str]
):
    saved = torch.load(copied / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["hyper_parameters"]["size"] == 16
    with pytest.raises(SystemExit):  # rather than going on with 16
        tiny("test", "--ckpt_path", "last", "--model.size", "4")
    assert "model.names.weight is (4, 16) in it, (4, 4) in the model" in capsys.readouterr().err


def test_what_was_fitted_comes_from_the_checkpoint(copied: Path, tiny: Command, monkeypatch: Any):
    from recollect_tiny.data import RecallData

    def fit(self: RecallData) -> dict[str, Any]:
        raise AssertionError("the training split was asked for")

    monkeypatch.setattr(RecallData, "fit", fit)
    tiny("predict", "--ckpt_path", "last")
    tiny("test", "--ckpt_path", "last")


@pytest.mark.parametrize(
    ("flag", "other"),
    [("--model", "recollect_tiny.task.OtherTask"), ("--data", "recollect_tiny.data.OtherData")],
)
def test_a_checkpoint_of_another_task_is_refused(
    flag: str, other: str, copied: Path, tiny: Command, capsys: pytest.CaptureFixture[str]
):
    before = contents(copied)
    with pytest.raises(SystemExit) as stop:
        tiny("test", "--ckpt_path", "last", flag, other)
    assert stop.value.code == 1
    assert f"names {other}" in capsys.readouterr().err
    assert contents(copied) == before


def test_a_damaged_checkpoint_is_named(copied: Path, tiny: Command, capsys: pytest.CaptureFixture[str]):
    path = copied / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SystemExit) as stop:
        tiny("predict", "--ckpt_path", "last")
    assert stop.value.code == 1
    assert str(path) in capsys.readouterr().err


def test_nan_names_batch_and_step_and_keeps_the_checkpoints(
    copied: Path, tiny: Command, capsys: pytest.CaptureFixture[str]
):
    before = contents(copied / "checkpoints")
    with pytest.raises(SystemExit) as stop:
        tiny("fit", "--ckpt_path", "last", "--trainer.max_epochs", "5", "--data.poison", "40")
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert "train loss is nan at step 2" in said
    assert "of epoch 4; not finite in the batch: batch[2] (1 of 16 values)" in said
    assert contents(copied / "checkpoints") == before


def test_data_without_a_test_split(tiny: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    tiny("fit", "--data.with_test", "false", "--trainer.max_epochs", "1")
    assert results(only_run(tmp_path))["metrics"] == {}
    with pytest.raises(SystemExit) as stop:
        tiny("test", "--ckpt_path", "last")
    assert stop.value.code == 1
    assert "no test split" in capsys.readouterr().err


def test_no_disk_space_is_said_and_the_former_checkpoint_survives(
    copied: Path, tiny: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from recollect.training import checkpoints

    before = contents(copied / "checkpoints")
    monkeypatch.setattr(checkpoints, "_write", lambda checkpoint, path: to_full_disk(checkpoint, path))
    with pytest.raises(SystemExit) as stop:
        tiny("fit", "--ckpt_path", "last", "--trainer.max_epochs", "5")
    assert stop.value.code == 1
    assert "no space is left" in capsys.readouterr().err
    assert contents(copied / "checkpoints") == before


def to_full_disk(checkpoint: dict[str, Any], path: Path) -> None:
    path.write_bytes(b"half")
    with open("/dev/full", "wb") as file:
        torch.save(checkpoint, file)
        file.flush()


def test_schedule_counts_steps_or_epochs(tiny: Command, tmp_path: Path):
    schedule = [
        "--model.scheduler",
        "torch.optim.lr_scheduler.StepLR",
        "--model.scheduler.step_size",
        "1",
        "--trainer.max_epochs",
        "2",
        "--model.scheduler.gamma",
        "0.5",
    ]
    rates = []
    for interval in ("step", "epoch"):
        tiny("fit", *schedule, "--model.scheduler_interval", interval)
        newest = max(
            (tmp_path / "runs" / "tiny" / "recall").iterdir(), key=lambda run: run.stat().st_mtime_ns
        )
        saved = torch.load(newest / "checkpoints" / "last.ckpt", weights_only=True)
        rates.append(saved["optimizer_states"][0]["param_groups"][0]["lr"])
    assert rates == pytest.approx([0.02 * 0.5**12, 0.02 * 0.5**2])


ONE_CYCLE = [
    *("--model.scheduler", "torch.optim.lr_scheduler.OneCycleLR", "--model.scheduler.max_lr", "0.1"),
    *("--model.scheduler_interval", "step"),
]


@pytest.mark.parametrize("steps", [6, 8, 7])
def test_a_schedule_is_as_long_as_the_training(
    steps: int, tiny: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    tiny("fit", *ONE_CYCLE, "--model.scheduler.total_steps", str(steps), "--trainer.max_steps", "7")
    run = only_run(tmp_path)
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["lr_schedulers"][0]["total_steps"] == 7
    note = f"OneCycleLR: total_steps is 7, the length of this training, not {steps} as configured"
    assert results(run)["notes"] == ([] if steps == 7 else [note])
    assert capsys.readouterr().out.count(note) == (0 if steps == 7 else 2)  # at the beginning and at the end


def test_a_schedule_counts_epochs_and_a_warm_up_keeps_its_length(tiny: Command, tmp_path: Path):
    cosine = [
        "--model.scheduler",
        "torch.optim.lr_scheduler.CosineAnnealingLR",
        "--model.scheduler.T_max",
        "9",
    ]
    tiny("fit", *cosine, "--trainer.max_epochs", "2")
    run = only_run(tmp_path)
    assert "T_max is 2" in results(run)["notes"][0]
    warm_up = ["--model.scheduler", "torch.optim.lr_scheduler.LinearLR", "--model.scheduler.total_iters", "9"]
    shutil.rmtree(run)
    tiny("fit", *warm_up, "--trainer.max_epochs", "2")
    assert results(only_run(tmp_path))["notes"] == []


def test_a_restored_schedule_is_not_stretched(
    tiny: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    tiny("fit", *ONE_CYCLE, "--model.scheduler.total_steps", "12", "--trainer.max_epochs", "2")
    run = only_run(tmp_path)
    before = contents(run / "checkpoints")
    with pytest.raises(SystemExit) as stop:
        tiny("fit", "--ckpt_path", "last", "--trainer.max_epochs", "3")
    assert stop.value.code == 2
    assert (
        "the checkpoint's OneCycleLR has total_steps 12, but this training takes 18"
        in capsys.readouterr().err
    )
    assert contents(run / "checkpoints") == before


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--trainer.accelerator", "gpuu"], "--trainer.accelerator gpuu"),
        (["--trainer.accelerator", "tpu"], "--trainer.accelerator tpu"),
        (["--trainer.devices", "0"], "--trainer.devices 0"),
        (["--trainer.devices", "-1"], "--trainer.devices -1"),
        (["--trainer.devices", "[0, 1]"], "--trainer.devices [0, 1]"),
        (["--trainer.max_epochs", "-3"], "max_epochs"),
        (["--trainer.max_epochs", "three"], "--trainer.max_epochs: expected int or null, got three"),
        (["--trainer.limit_train_batches", "-3"], "limit_train_batches"),
        (["--trainer.val_check_interval", "1000"], "val_check_interval"),
        (
            ["--trainer.callbacks+", "Nope"],
            "expected the path of a class or null, got Nope",
        ),
        (["--model.size", "many"], "--model.size: expected int, got many"),
        (["--model.optimizer.init_args.lr", "-1"], "--model.optimizer: Invalid learning rate: -1"),
        (["--model.optimizer.init_args.lr", ".nan"], "--model.optimizer: Invalid learning rate: nan"),
        (["--data", "recollect_tiny.data.Nope"], "--data: "),
    ],
)
def test_a_value_that_cannot_be_is_one_line(
    args: list[str], said: str, tiny: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as stop:
        tiny("fit", *args)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("recollect-tiny: error: ")
    assert said in line
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("root", ["file", "/proc/nope"])
def test_a_root_that_cannot_be_written_to_is_one_line(
    root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from recollect_tiny.cli import main

    (tmp_path / "file").write_text("kept")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--trainer.default_root_dir", str(tmp_path / root)])
    assert stop.value.code == 2
    assert "--trainer.default_root_dir names another place" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "kept"


def test_the_training_stops_when_its_time_is_up(tiny: Command, tmp_path: Path):
    tiny("fit", "--trainer.max_time", "00:00:00:01", "--trainer.max_epochs", "100000")
    run = only_run(tmp_path)
    assert results(run)["epochs"] < 1000
    assert results(run)["seconds"] > 0


def test_a_config_by_name_must_be_that_of_the_checkpoints_run(
    copied: Path, tiny: Command, capsys: pytest.CaptureFixture[str]
):
    checkpoint = copied / "checkpoints" / "last.ckpt"
    with pytest.raises(SystemExit) as stop:
        tiny("test", "--config", "small", "--ckpt_path", str(checkpoint))
    assert stop.value.code == 2
    assert "--config small: " in (said := capsys.readouterr().err)
    assert "of a run of 'recall'" in said
    assert not (copied / "test").exists()
    tiny("test", "--ckpt_path", str(checkpoint))  # as the run was made
    assert (copied / "test" / "results.json").exists()


def test_a_value_out_of_range_is_one_line_and_leaves_no_folder(
    tiny: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as stop:
        tiny("fit", "--data.batch_size", "0")
    assert stop.value.code == 2
    assert "recollect-tiny: error: batch_size must be at least 1, got 0\n" in capsys.readouterr().err
    assert not list((tmp_path / "runs" / "tiny" / "recall").iterdir())


def test_predictions_that_cannot_be_written_are_refused_before_the_work(
    copied: Path, tiny: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("kept")
    for output, said in (
        (tmp_path, "is a folder"),
        (tmp_path / "file" / "out.jsonl", "cannot be written to"),
    ):
        with pytest.raises(SystemExit):
            tiny("predict", "--ckpt_path", "last", "--output", str(output))
        assert said in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "kept"


def test_notes_on_the_data_and_on_the_scores_stand_in_the_report(
    tiny: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from recollect_tiny.data import RecallData
    from recollect_tiny.task import RecallTask

    monkeypatch.setattr(RecallData, "notes", ["dan is missing [sic]"])
    monkeypatch.setattr(RecallTask, "notes", ["of four colours"])
    tiny("fit", "--trainer.max_epochs", "1")
    assert results(only_run(tmp_path))["notes"] == ["dan is missing [sic]", "of four colours"]
    said = capsys.readouterr().out
    assert "dan is missing [sic]" in said
    assert "of four colours" in said


def test_an_optimizer_has_its_own_defaults_not_those_of_the_default(tiny: Command, tmp_path: Path):
    """The weight decay of AdamW, the default, must not reach an Adam that is asked for without any."""
    chosen = ("--model.optimizer", "torch.optim.Adam", "--model.optimizer.lr", "0.01")
    tiny("fit", *chosen, "--trainer.max_epochs", "1")
    resolved = yaml.safe_load((only_run(tmp_path) / "config.yaml").read_text())
    optimizer = resolved["model"]["init_args"]["optimizer"]
    assert optimizer["class_path"] == "torch.optim.Adam"
    assert optimizer["init_args"]["weight_decay"] == 0.0
