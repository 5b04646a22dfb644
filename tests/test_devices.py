"""Every package's default gives on a GPU the loss that it gives on a CPU."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.utilities import move_data_to_device

DEFAULTS = {
    "nlp": ["--data.stories", "200", "--data.held_out", "5"],
    "recsys": ["--data.count", "20"],
    "speech": ["--data.train", "20", "--data.val", "4", "--data.test", "4"],
    "timeseries": ["--data.lookback", "48", "--data.horizon", "8", "--data.batch_size", "16"],
    "vision": ["--data.batch_size", "16"],
}
"""For each package what makes the data of its default small."""

QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
TOLERANCE = 1e-4
"""Relative difference of losses: float32 has 6e-8, and sums of some thousand terms are in another order."""

Losses = Callable[..., list[float]]


@pytest.fixture(
    params=[
        pytest.param("cuda", marks=pytest.mark.gpu),
        pytest.param("cpu", marks=pytest.mark.slow),  # the test itself, where there is no GPU
    ]
)
def device(request: pytest.FixtureRequest) -> str:
    """What is compared with the CPU."""
    return request.param


@pytest.fixture
def losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Losses:
    """Train a package's default for one step on a device: the loss of the batch before the step.

    The loss is that of evaluation mode: dropout draws other numbers on each device. All runs are given the
    batch of the first one: eSpeak, in one process, does not say the same thing twice alike.
    """
    from recollect.training import Task

    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # convolutions keep all digits of float32
    step = Task.training_step
    found: list[float] = []
    kept: list[Any] = []

    def training_step(task: Any, batch: Any, batch_idx: int) -> torch.Tensor:
        if not kept:
            kept.append(move_data_to_device(batch, torch.device("cpu")))
        batch = move_data_to_device(kept[0], task.device)
        task.eval()
        with torch.no_grad():
            found.append(float(task.training_loss(batch)[0]))
        task.train()
        assert {part.device for part in task.state_dict().values()} == {task.device}
        return step(task, batch, batch_idx)

    def train(package: str, device: str) -> list[float]:
        monkeypatch.setattr(Task, "training_step", training_step)
        found.clear()
        accelerator = {"cuda": "gpu", "cpu": "cpu"}[device]
        where = ["--trainer.accelerator", accelerator, "--trainer.devices", "1"]
        exact = ["--trainer.precision", "32-true", "--trainer.fast_dev_run", "1"]
        main = import_module(f"recollect_{package}.cli").main
        main(["fit", *DEFAULTS[package], *where, *exact, *QUIET])
        return list(found)

    return train


@pytest.mark.parametrize("package", DEFAULTS)
def test_the_loss_is_that_of_the_cpu(package: str, device: str, losses: Losses) -> None:
    there, here = losses(package, device), losses(package, "cpu")
    assert len(here) == 1
    assert there == pytest.approx(here, rel=TOLERANCE)
