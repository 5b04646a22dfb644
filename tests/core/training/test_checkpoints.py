"""Checkpoints: written whole or not at all."""

import os
from pathlib import Path

import pytest
import torch

from recollect.training.checkpoints import AtomicCheckpointIO, check_fit, check_task, load
from recollect.training.errors import CheckpointError, DiskError


def test_a_full_disk_keeps_what_was_there(tmp_path: Path):
    path = tmp_path / "last.ckpt"
    writer = AtomicCheckpointIO()
    writer.save_checkpoint({"step": 1}, path)
    # The name that the next one is written under leads to a device without space.
    (tmp_path / f".last.ckpt.{os.getpid()}.partial").symlink_to("/dev/full")
    with pytest.raises(DiskError, match=r"last\.ckpt could not be written: no space is left.*untouched"):
        writer.save_checkpoint({"step": 2, "weights": torch.ones(10_000)}, path)
    assert load(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]
    writer.save_checkpoint({"step": 3}, path)
    assert load(path) == {"step": 3}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match=r"file/last\.ckpt"):
        AtomicCheckpointIO().save_checkpoint({}, tmp_path / "file" / "last.ckpt")


def test_a_kill_while_writing_leaves_the_former(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "last.ckpt"
    writer = AtomicCheckpointIO()
    writer.save_checkpoint({"step": 1}, path)

    def killed(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        writer.save_checkpoint({"step": 2}, path)
    assert load(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_checkpoint_is_named(tmp_path: Path):
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load(tmp_path / "missing.ckpt")
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match=r"text\.ckpt is not a checkpoint that can be read"):
        load(tmp_path / "text.ckpt")
    torch.save([1], tmp_path / "list.ckpt")
    with pytest.raises(CheckpointError, match=r"list\.ckpt is not a checkpoint of a task"):
        load(tmp_path / "list.ckpt")
    with pytest.raises(CheckpointError, match="not written by a task of this project"):
        check_task({}, object())


def test_weights_that_do_not_fit_are_listed():
    own = {"a": torch.ones(2), "b": torch.ones(3)}
    with pytest.raises(
        CheckpointError, match=r"a is \(4,\) in it, \(2,\) in the model; b is missing.*c is unk"
    ):
        check_fit({"a": torch.ones(4), "c": torch.ones(1)}, own)
    check_fit(own, own)
