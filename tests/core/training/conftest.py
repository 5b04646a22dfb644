"""A domain package in small, its command line in this process, and one trained run that tests may read."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "packages"))
collect_ignore = ["packages"]

Command = Callable[..., None]


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody's W&B key is used."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def tiny(tmp_path: Path) -> Command:
    """Run ``recollect-tiny`` with its runs under ``tmp_path``."""
    return lambda *args: run_tiny(tmp_path, *args)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a bare ``fit``; not to be changed."""
    root = tmp_path_factory.mktemp("trained")
    run_tiny(root, "fit")
    return only_run(root)


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """A copy of that run under ``tmp_path``, to be used up."""
    run = tmp_path / "runs" / "tiny" / "recall" / trained.name
    shutil.copytree(trained, run)
    return run


def run_tiny(root: Path, *args: str) -> None:
    from recollect_tiny.cli import main

    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
    main([*args, "--trainer.default_root_dir", str(root), *quiet])


def only_run(root: Path, name: str = "recall") -> Path:
    (run,) = (root / "runs" / "tiny" / name).iterdir()
    return run


def results(run: Path) -> dict[str, Any]:
    return json.loads((run / "results.json").read_text())
