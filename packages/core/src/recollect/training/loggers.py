"""Loggers: a metrics file that survives resuming, and W&B that works offline."""

import csv
import logging
import netrc
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch import loggers
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

CHATTY = ("pytorch.utilities.rank_zero", "fabric.utilities.seed", "fabric.utilities.distributed")
"""Loggers of Lightning that repeat with every run what nobody needs to know."""


class MetricsFile(loggers.CSVLogger):
    """Writes ``metrics.csv``; a resumed run appends to it.

    Args:
        save_dir: The folder; ``"{run}"`` in a config is the run's own.
        flush_logs_every_n_steps: Steps between two writes.
    """

    def __init__(self, save_dir: str = "{run}", flush_logs_every_n_steps: int = 50) -> None:
        super().__init__(save_dir, name="", version="", flush_logs_every_n_steps=flush_logs_every_n_steps)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer of the file."""
        if self._experiment is None:
            self._experiment = _KeepingWriter(log_dir=self.log_dir)
        return self._experiment

    def log_hyperparams(self, params: Any = None) -> None:
        """Do nothing: ``config.yaml`` is in the same folder."""


class _KeepingWriter(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.is_file() and path.stat().st_size:
            with path.open(newline="") as file:
                self.metrics_keys = next(csv.reader(file))


class WandbLogger(loggers.WandbLogger):
    """Weights & Biases: online where an API key is set, else offline (``wandb sync`` sends it later).

    Args:
        project: Name of the project there.
        save_dir: Where its files go; ``"{run}"`` in a config is the run's own folder.
        name: Name of the run; made up by W&B by default.
        group: Runs to be shown together.
        tags: Words to find it by.
        offline: Never online; decided by whether there is a key by default.
        timeout: Seconds that connecting may take before the run goes on offline.
    """

    def __init__(
        self,
        project: str = "recollect",
        save_dir: str = "{run}",
        name: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        offline: bool | None = None,
        timeout: float = 20.0,
    ) -> None:
        import wandb

        if offline is None:
            offline = os.environ.get("WANDB_MODE") in ("offline", "disabled") or not has_key()
        settings = wandb.Settings(init_timeout=timeout)
        super().__init__(
            name=name,
            save_dir=save_dir,
            project=project,
            offline=offline,
            group=group,
            tags=tags,
            settings=settings,
        )
        self._wandb_init.pop("anonymous", None)  # W&B complains of it, whatever its value

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run; offline if the server cannot be reached."""
        import wandb

        if self._experiment is None:
            wandb.finish()  # of a command before this one that was cut short
            self._continue(secrets.token_hex(4))
        try:
            return super().experiment
        except (wandb.errors.CommError, wandb.errors.AuthenticationError, TimeoutError) as error:
            print(f"W&B cannot be reached ({error}); going on offline")
            self._wandb_init["mode"] = "offline"
            os.environ["WANDB_MODE"] = "offline"
            return super().experiment

    def _continue(self, new: str) -> None:
        """Continue the run whose id is in the folder, or start one with the id ``new``."""
        if self._save_dir is None:
            return
        path = Path(self._save_dir) / "wandb" / "run-id"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            new = path.read_text(encoding="utf-8").strip()
            if not self._offline:  # offline, the id suffices, and W&B would complain
                self._wandb_init["resume"] = "allow"
        else:
            path.write_text(new + "\n", encoding="utf-8")
        self._wandb_init["id"] = new


def finish() -> None:
    """End the W&B run of this process, if any."""
    wandb = sys.modules.get("wandb")
    if wandb is not None:
        wandb.finish()


def has_key() -> bool:
    """Whether W&B has an API key: in the environment or in the user's netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        hosts = netrc.netrc(str(path)).hosts
    except (OSError, netrc.NetrcParseError):
        return False
    server = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").removeprefix("https://").rstrip("/")
    return server in hosts


@contextmanager
def quietly() -> Iterator[None]:
    """Silence Lightning's messages about devices, seeds and products."""
    logs = [logging.getLogger(f"lightning.{name}") for name in CHATTY]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
