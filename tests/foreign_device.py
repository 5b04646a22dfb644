"""A default device that is not the one of model and batch, for the hooks of a task."""

import functools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch.utils._device import DeviceContext, _device_constructors

STEPS = ("training_loss", "evaluate", "summarize", "predict", "figures")


def abroad(configure_model: Callable[[Any], None]) -> Callable[[Any], None]:
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
        if func in _device_constructors() and _is_exempt(sys._getframe(1)):
            return func(*args, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs)


def _is_exempt(frame: FrameType | None) -> bool:
    """Whether Lightning or torchmetrics, which move what they make, or a data module creates the tensor.

    The innermost function of theirs or of ours decides.
    """
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith(("lightning.", "torchmetrics.")):
            return True
        if name.startswith("recollect"):
            return name.split(".")[1:2] == ["data"] or name == "recollect.training.data"
        frame = frame.f_back
    return False
