"""Predictions as JSON lines and as CSV."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recollect.training.callbacks import PredictionWriter

BATCHES = [
    [{"time": "2020-01-01", "note": 'a "b", c'}],
    [{"time": "2020-01-02", "note": None}, {"time": "2020-01-03", "note": 1.5}],
]


def write(
    output: str | None, folder: Path, batches: list[list[dict[str, Any]]] = BATCHES
) -> PredictionWriter:
    strategy = SimpleNamespace(broadcast=lambda value: value, barrier=lambda name: None)
    trainer: Any = SimpleNamespace(
        world_size=1, global_rank=0, is_global_zero=True, default_root_dir=folder, strategy=strategy
    )
    writer, task = PredictionWriter(output), Any
    writer.on_predict_start(trainer, task)
    try:
        for number, rows in enumerate(batches):
            writer.on_predict_batch_end(trainer, task, rows, None, number)
    except ValueError as error:
        writer.on_exception(trainer, task, error)
        raise
    writer.on_predict_end(trainer, task)
    return writer


def test_csv_has_one_header_and_quotes_what_needs_it(tmp_path):
    path = tmp_path / "new" / "out.csv"
    write(str(path), tmp_path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["time"] for row in rows] == ["2020-01-01", "2020-01-02", "2020-01-03"]
    assert [row["note"] for row in rows] == ['a "b", c', "", "1.5"]


def test_any_other_name_is_json_lines_and_standard_output_too(tmp_path, capsys):
    expected = [row for rows in BATCHES for row in rows]
    path = write(None, tmp_path).path
    assert path == tmp_path / "predictions.jsonl"
    assert [json.loads(line) for line in path.read_text().splitlines()] == expected
    write("-", tmp_path)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == expected


def test_a_row_of_other_columns_does_not_go_into_a_csv_file(tmp_path):
    with pytest.raises(ValueError, match="a row of time does not go under the header time, note"):
        write(str(tmp_path / "out.csv"), tmp_path, [*BATCHES, [{"time": "2020-01-04"}]])
    assert not list(tmp_path.iterdir())  # no half file


def test_a_cell_that_has_parts_is_json(tmp_path):
    write(str(tmp_path / "out.csv"), tmp_path, [[{"items": ["ä", "b"], "read": [{"w": 0.5}], "none": None}]])
    with (tmp_path / "out.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert json.loads(row["items"]) == ["ä", "b"]
    assert json.loads(row["read"]) == [{"w": 0.5}]
    assert row["none"] == ""
