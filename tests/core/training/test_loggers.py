"""Loggers: the metrics file that goes on, and W&B that never hangs."""

import csv
from pathlib import Path

import pytest
import wandb

from recollect.training.loggers import MetricsFile, WandbLogger, finish, has_key


def test_a_metrics_file_goes_on_where_it_was(tmp_path: Path):
    for step, name in enumerate(("a", "b")):
        logger = MetricsFile(str(tmp_path))
        logger.log_metrics({name: 0.5}, step)
        logger.save()
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"a": "0.5", "b": "", "step": "0"}, {"a": "", "b": "0.5", "step": "1"}]


def test_keys_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert not has_key()
    (tmp_path / "netrc").write_text("machine example.org login user password x\n")
    assert not has_key()
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password x\n")
    assert has_key()
    (tmp_path / "netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert has_key()
    assert not WandbLogger(save_dir=str(tmp_path))._offline
    assert WandbLogger(save_dir=str(tmp_path), offline=True)._offline


def test_without_a_server_wandb_goes_on_offline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setenv("WANDB_MODE", "online")
    attempts = []

    def init(**settings: object) -> object:
        attempts.append(settings)
        if settings.get("mode") != "offline":
            raise wandb.errors.CommError("no route to host")
        return object()

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(wandb, "run", None)
    logger = WandbLogger(save_dir=str(tmp_path))
    assert logger.experiment is not None
    assert [attempt.get("mode") for attempt in attempts] == [None, "offline"]
    assert attempts[0]["settings"].init_timeout == 20
    assert "going on offline" in capsys.readouterr().out
    finish()
