"""What a run shows: parts that add up, a line for each epoch, a bar in a terminal only, and no chatter."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import RichModelSummary, TQDMProgressBar
from rich.console import Console
from torch import nn

from recollect import PrototypeMemory, VectorStorage
from recollect.training.callbacks import EpochProgress, PartsSummary, screen_callbacks
from recollect.training.callbacks.parts_summary import parts
from recollect.training.callbacks.progress import main_metrics

from .conftest import only_run, results

CHATTER = (
    "FLOPs",
    "Seed set",
    "Tip",
    "GPU available",
    "TPU available",
    "LOCAL_RANK",
    "litlogger",
    "stopped: `max",
)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What Lightning logs."""
    messages: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    handler = Keeping()
    names = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    for name in names:
        logging.getLogger(name).addHandler(handler)
    yield messages
    for name in names:
        logging.getLogger(name).removeHandler(handler)


def command(root: Path, *args: str) -> None:
    from recollect_tiny.cli import main

    main([*args, "--trainer.default_root_dir", str(root)])


def test_a_log_file_gets_parts_and_a_line_for_each_epoch(tmp_path: Path, capsys, logged: list[str]):
    command(tmp_path, "fit")
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [line.split()[1] for line in epochs] == ["1/4", "2/4", "3/4", "4/4"]
    number = r"[\d.e-]+"
    for line in epochs:
        assert re.fullmatch(
            rf"epoch \d/4  train/loss {number}  val/accuracy {number}  val/loss {number}.*  {number} s", line
        )
    assert any(re.fullmatch(r"test  \d+ batch(es)?  [\d.]+ s", line) for line in lines)
    assert "━━━ " not in shown.out  # no bar
    rows = [line.strip("│").split("│") for line in lines if line.count("│") == 4]
    counts = {name.strip(): int(count.replace(",", "")) for name, _, count in rows}
    assert counts.pop("total") == sum(counts.values()) == results(only_run(tmp_path))["parameters"]
    assert "memory" in counts
    for phrase in CHATTER:
        assert phrase not in shown.out + shown.err + "\n".join(logged), phrase


def test_other_commands_say_when_they_have_ended(copied: Path, tmp_path: Path, capsys, logged: list[str]):
    for name, noun in (("test", "test"), ("validate", "validation"), ("predict", "prediction")):
        command(tmp_path, name, "--ckpt_path", "last", "--trainer.enable_progress_bar", "true")
        shown = capsys.readouterr()
        assert re.search(rf"^{noun}  \d+ batch(es)?  [\d.]+ s$", shown.out, re.MULTILINE), shown.out
        for phrase in CHATTER:
            assert phrase not in shown.out + shown.err + "\n".join(logged), phrase


def test_rows_on_standard_output_stand_alone(copied: Path, tmp_path: Path, capsys):
    command(
        tmp_path, "predict", "--ckpt_path", "last", "--output", "-", "--trainer.enable_progress_bar", "true"
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(line.startswith("{") for line in lines)


def test_a_terminal_shows_epochs_and_validation_metrics_on_a_bar(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("rich._console", Console())  # older ones read the environment only when they are made
    command(tmp_path, "fit", "--trainer.max_epochs", "2")
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", capsys.readouterr().out)
    assert re.search(r"Epoch 2/2 .*━.* train/loss: [\d.]+ val/accuracy: [\d.]+ val/loss: [\d.]+", plain)
    assert "Epoch 0/" not in plain
    assert re.search(r"epoch 1/2  train/loss", plain)


def test_both_can_be_switched_off(tmp_path: Path, capsys):
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
    command(tmp_path, "fit", "--trainer.max_epochs", "1", *quiet)
    shown = capsys.readouterr().out
    assert "epoch" not in shown
    assert "class" not in shown
    assert "test/accuracy" in shown


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_a_bar_that_a_config_names_takes_the_place_of_ours(tmp_path: Path, capsys, enabled: str):
    own = tmp_path / "own.yaml"
    own.write_text("trainer:\n  callbacks+:\n    - class_path: TQDMProgressBar\n")
    flags = ["--trainer.max_epochs", "1", "--trainer.enable_progress_bar", enabled]
    command(tmp_path, "fit", "--config", "recall", "--config", str(own), *flags)
    shown = capsys.readouterr()
    assert "epoch 1/1" not in shown.out
    assert ("Epoch 0" in shown.out + shown.err) is (enabled == "true")


def test_what_a_config_names_is_kept_or_dropped():
    bar, summary = TQDMProgressBar(), RichModelSummary()
    assert screen_callbacks([bar, summary], True, None) == [bar, summary]
    assert screen_callbacks([bar, summary], False, False) == []
    assert [type(part) for part in screen_callbacks([], None, None)] == [EpochProgress, PartsSummary]


def test_a_memory_inside_a_part_has_a_row_and_shared_parameters_count_once():
    memory = PrototypeMemory(4, VectorStorage(4, 4, slots=8), prototypes=8)
    encoder = nn.Sequential(nn.Linear(4, 4), nn.Sequential(memory))
    model = nn.Module()
    model.encoder, model.output, model.scale = encoder, nn.Linear(4, 4), nn.Parameter(nn.Linear(1, 1).weight)
    model.output.weight = encoder[0].weight
    found = {part.name: part.parameters for part in parts(model)}
    own = sum(parameter.numel() for parameter in memory.parameters())
    assert found == {"encoder": 20, "encoder.1.0": own, "output": 4, "(of its own)": 1}
    assert sum(found.values()) == sum(parameter.numel() for parameter in model.parameters())


def test_what_chooses_the_checkpoint_comes_first():
    metrics = dict.fromkeys(
        ["val/accuracy_se", "val/accuracy", "val/error/b", "val/f1", "val/loss", "memory/age"], 0.0
    )
    assert main_metrics(metrics, ["val/f1"], 9) == [
        "val/f1",
        "val/loss",
        "val/accuracy",
        "val/error/b",
        "val/accuracy_se",
    ]
    assert main_metrics({}, ["val/f1"], 3) == []
