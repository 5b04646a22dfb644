"""Tests of tasks run as on a machine with a GPU: the default device is not the one of model and batch."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch.utils._device import DeviceContext, _device_constructors

HERE = Path(__file__).parent
TASKS = ("core/training", "nlp", "recsys", "speech", "timeseries", "vision")
"""Folders of tests that train."""

WITHOUT_TASKS = {"data", "models"}
"""Folders within these where nothing trains."""

STEPS = ("training_loss", "evaluate", "summarize", "predict", "pictures")


@pytest.fixture(autouse=True)
def foreign_device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Build and run every task while the default device is ``meta``; model and batches are on the CPU.

    With a GPU, Lightning calls ``configure_model`` while the default device is CUDA, and a task's other hooks
    while the default device is the CPU, but model and batch are on CUDA. A tensor that a hook makes without
    saying where then fails beside those of the model. A tensor on ``meta`` fails beside one on the CPU.
    """
    folder = request.path.relative_to(HERE).parent
    if folder.as_posix().startswith(TASKS) and folder.name not in WITHOUT_TASKS:
        from recollect.training import Task

        monkeypatch.setattr(Task, "configure_model", _abroad(Task.configure_model))


def _abroad(configure_model: Callable[[Any], None]) -> Callable[[Any], None]:
    """``configure_model`` under a foreign default device, and after it the task's own hooks."""

    @functools.wraps(configure_model)
    def configure(task: Any) -> None:
        built = "model" in task._modules
        with torch.device("meta"):
            configure_model(task)
        if not built:
            for name in _own_hooks(type(task)):
                setattr(task, name, _on_foreign_device(getattr(task, name)))

    return configure


def _own_hooks(task: type) -> list[str]:
    """The steps of a task, and what it does besides at certain points of a run."""
    from recollect.training import Task

    own = {name for kind in task.__mro__[: task.__mro__.index(Task)] for name in vars(kind)}
    return sorted(name for name in own if name in STEPS or name.startswith("on_"))


def _on_foreign_device(hook: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(hook)
    def run(*args: Any, **kwargs: Any) -> Any:
        with ForeignDevice(torch.device("meta")):
            return hook(*args, **kwargs)

    return run


class ForeignDevice(DeviceContext):
    """A default device for all but data modules: what these make is on the CPU, with a GPU or without."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _device_constructors() and _is_data(sys._getframe(1)):
            return func(*args, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs)


def _is_data(frame: FrameType | None) -> bool:
    """Whether the innermost of our own functions is one of a data module."""
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("recollect"):
            return name.split(".")[1:2] == ["data"] or name == "recollect.training.data"
        frame = frame.f_back
    return False
