"""Tests of tasks run as on a machine with a GPU: the default device is not the one of model and batch."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
TASKS = ("core/training", "nlp", "recsys", "speech", "timeseries", "vision")
"""Folders of tests that train."""

WITHOUT_TASKS = {"data", "models"}
"""Folders within these where nothing trains."""


@pytest.fixture(autouse=True)
def foreign_device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Build and run every task while the default device is ``meta``; model and batches are on the CPU.

    With a GPU, Lightning calls ``configure_model`` while the default device is CUDA, and a task's other hooks
    while the default device is the CPU, but model and batch are on CUDA. A tensor that a hook makes without
    saying where then fails beside those of the model. A tensor on ``meta`` fails beside one on the CPU.
    """
    folder = request.path.relative_to(HERE).parent
    if folder.as_posix().startswith(TASKS) and folder.name not in WITHOUT_TASKS:
        # Here, for the process that hands out the tests reads this file and has no need of torch.
        from recollect.training import Task

        from .foreign_device import abroad

        monkeypatch.setattr(Task, "configure_model", abroad(Task.configure_model))
