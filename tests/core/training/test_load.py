"""A trained run in Python: the same weights, vocabularies and answers as on the command line."""

import json
import logging
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from recollect.training import Task, load_run
from recollect.training.errors import CheckpointError

from .conftest import Command


def test_a_run_answers_in_python_as_on_the_command_line(copied: Path, tiny: Command):
    tiny("predict", "--ckpt_path", "best", "--data.size", "21")
    expected = [json.loads(line) for line in (copied / "predictions.jsonl").read_text().splitlines()]
    task, data = load_run(copied, size=21)
    assert not task.training
    with torch.no_grad():
        rows = [row for batch in data.predict_dataloader() for row in task.predict(batch)]
    assert [row["answer"] for row in rows] == [row["answer"] for row in expected]
    assert [row["probability"] for row in rows] == pytest.approx([row["probability"] for row in expected])


def test_the_weights_are_those_of_the_checkpoint_asked_for(copied: Path):
    path = copied / "checkpoints" / "last.ckpt"
    saved = torch.load(path, weights_only=True)["state_dict"]
    for checkpoint in ("last", path):
        own = load_run(copied, checkpoint).task.state_dict()
        assert own.keys() == saved.keys()
        assert all(torch.equal(own[name], saved[name]) for name in own)


def test_loading_says_nothing_of_devices_and_leaves_logging_as_it_was(trained: Path):
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        load_run(trained)
        assert said == []
        Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
        assert said
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def test_what_is_no_run_or_does_not_fit_is_named(copied: Path, tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"is no run folder: it has no config\.yaml"):
        load_run(tmp_path)
    config = copied / "config.yaml"
    config.write_text(config.read_text().replace("size: 16\n", "size: 4\n"))
    with pytest.raises(CheckpointError, match=r"names\.weight is \(4, 16\) in it, \(4, 4\) in the model"):
        load_run(copied)


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "model: 3\ndata: 4", "model: {class_path: x}"])
def test_a_config_that_is_not_of_a_run_is_named(copied: Path, text: str):
    (copied / "config.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.yaml is not the config of a run"):
        load_run(copied)


def test_a_class_or_an_argument_that_does_not_exist_is_named(copied: Path):
    with pytest.raises(CheckpointError, match=r"config\.yaml: --data: Option 'sizes' is not accepted"):
        load_run(copied, sizes=21)
    config = copied / "config.yaml"
    config.write_text(config.read_text().replace("class_path: recollect_tiny", "class_path: recollect_gone"))
    with pytest.raises(CheckpointError, match=r"config\.yaml: .*recollect_gone"):
        load_run(copied)


def test_a_checkpoint_alone_is_not_enough(copied: Path):
    with pytest.raises(NotImplementedError, match=r"recollect\.training\.load_run"):
        Task.load_from_checkpoint(copied / "checkpoints" / "last.ckpt")
