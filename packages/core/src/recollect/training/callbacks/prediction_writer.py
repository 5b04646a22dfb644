"""Predictions as JSON lines or CSV, written as they come."""

import csv
import io
import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from lightning.pytorch import Callback, LightningModule, Trainer

from recollect.training.errors import ArgumentError, DiskError
from recollect.training.task import Task


class PredictionWriter(Callback):
    """Writes each row of ``Task.predict`` as one line, in the order of the data: JSON, or CSV for ``.csv``.

    In a CSV file the names in the first row are the header, and the rows after it must have the same; lists
    and mappings stand as JSON in their cells.
    Standard output gets what the task's own file would. A file appears under its name once it is whole. With
    several processes each writes a part, and the parts are put together, batch by batch, at the end.

    Args:
        output: A file, or ``"-"`` for standard output; ``Task.prediction_file`` in the run folder by default.

    Raises:
        ValueError: If a row does not go with the header of a CSV file.
    """

    def __init__(self, output: str | Path | None = None) -> None:
        self.output = output
        self.path: Path | None = None
        self._file: TextIO | None = None
        self._table = False
        self._header: list[str] | None = None

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file."""
        own = pl_module.prediction_file if isinstance(pl_module, Task) else Task.prediction_file
        named = own if self.output in (None, "-") else str(self.output)
        self._table, self._header = named.endswith(".csv"), None
        if self.output == "-" and trainer.world_size == 1:
            self._file = sys.stdout
            return
        folder = Path(trainer.strategy.broadcast(str(trainer.default_root_dir)))
        self.path = folder / own if self.output in (None, "-") else Path(named)
        if self.path.is_dir():
            raise ArgumentError(f"--output {self.path} is a folder, not a file")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part(trainer.global_rank).open("w", encoding="utf-8")
        except OSError as error:
            raise DiskError(f"predictions cannot be written to {self.path}: {error.strerror}") from error

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the rows of one batch."""
        assert self._file is not None
        # With several processes a batch is one line of its part, so that they can be dealt back into order.
        head = trainer.global_rank == 0 and self._header is None
        rows = [self._line(row) for row in outputs]
        if head and self._header is not None:
            rows.insert(0, _cells(self._header))
        lines = [json.dumps(rows)] if trainer.world_size > 1 else rows
        self._file.writelines(f"{line}\n" for line in lines)
        self._file.flush()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Rename the finished file."""
        if self.path is None or self._file is None:
            self._file = None
            return
        self._file.close()
        trainer.strategy.barrier("predictions")
        if not trainer.is_global_zero:
            return
        if trainer.world_size > 1:
            self._join(trainer.world_size)
        else:
            os.replace(self._part(0), self.path)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove the unfinished file."""
        if self.path is not None and self._file is not None:
            self._file.close()
            self._part(trainer.global_rank).unlink(missing_ok=True)

    def _line(self, row: dict[str, Any]) -> str:
        if not self._table:
            return json.dumps(row, ensure_ascii=False)
        if self._header is None:
            self._header = list(row)
        if list(row) != self._header:
            raise ValueError(
                f"a row of {', '.join(row)} does not go under the header {', '.join(self._header)}"
            )
        return _cells(list(row.values()))

    def _part(self, rank: int) -> Path:
        assert self.path is not None
        return self.path.with_name(f".{self.path.name}.{rank}.partial")

    def _join(self, world: int) -> None:
        """Merge the parts of all processes: batches were dealt out in turn."""
        assert self.path is not None
        parts = [self._part(rank).open(encoding="utf-8") for rank in range(world)]
        whole = self.path.with_name(f".{self.path.name}.partial")
        with whole.open("w", encoding="utf-8") as file:
            for turn in zip(*parts, strict=True):
                for batch in turn:
                    file.writelines(f"{row}\n" for row in json.loads(batch))
        for rank, part in enumerate(parts):
            part.close()
            self._part(rank).unlink()
        if self.output == "-":
            sys.stdout.write(whole.read_text(encoding="utf-8"))
            whole.unlink()
        else:
            os.replace(whole, self.path)


def _cells(values: list[Any]) -> str:
    line = io.StringIO()
    # What has parts is JSON within its cell, so that a reader gets it back.
    flat = [json.dumps(v, ensure_ascii=False) if isinstance(v, list | dict) else v for v in values]
    csv.writer(line, lineterminator="").writerow(flat)
    return line.getvalue()
