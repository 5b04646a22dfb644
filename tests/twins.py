"""Packaged configs with a memory, and what remains of them without."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest

from recollect_cli.configs import memories, package_configs, read_config

Main = Callable[[Sequence[str] | None], None]


class Size(NamedTuple):
    """Size of a model: only a model with storages reads from a memory."""

    parameters: int
    storages: int


class Built(Exception):
    """Ends a run when its model is built."""


def memories_by_config(package: str, task: str = "") -> dict[str, list[str]]:
    """The memory arguments of each packaged config that has one, for the tasks of that name."""
    settings = {name: read_config(path) for name, path in package_configs(package).items()}
    found = {
        name: memories(given) for name, given in settings.items() if task in given["model"]["class_path"]
    }
    return {name: given for name, given in found.items() if given}


class Twins:
    """Compares configs with their twins without memory.

    Args:
        monkeypatch: Ends the runs.
        main: Command line of a package.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, main: Main) -> None:
        self.monkeypatch = monkeypatch
        self.main = main

    def check(self, name: str, roles: Sequence[str], flags: Sequence[str]) -> None:
        """The twin fits a batch and reads nothing; each memory can be switched off by a flag."""
        given = ["fit", "--config", name, *flags, "--trainer.fast_dev_run", "1"]
        whole = self.size(given, stop=True)
        assert self.size([*given, "--config", "without-memory"]).storages == 0 < whole.storages
        for role in roles if len(roles) > 1 else ():
            without = self.size([*given, f"--model.{role}", "null"], stop=True)
            assert without.storages < whole.storages
            assert without.parameters <= whole.parameters

    def size(self, args: Sequence[str], stop: bool = False) -> Size:
        """The size of the model that a command line trains for a batch, or only builds."""
        from recollect.storages.base import Storage
        from recollect.training import Task

        configure, models = Task.configure_model, []

        def configure_model(task: Any) -> None:
            configure(task)
            models.append(task.model)
            if stop:
                raise Built

        with self.monkeypatch.context() as patch:
            patch.setattr(Task, "configure_model", configure_model)
            if stop:
                with pytest.raises(Built):
                    self.main(args)
            else:
                self.main(args)
        storages = sum(isinstance(part, Storage) for part in models[0].modules())
        return Size(sum(part.numel() for part in models[0].parameters()), storages)
