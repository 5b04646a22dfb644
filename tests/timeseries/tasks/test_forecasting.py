"""Forecasting from the command line to the files that a run leaves."""

import csv
import json
from pathlib import Path

import pytest
import torch

from recollect.training import load_run
from recollect.training.callbacks.parts_summary import parts
from recollect_timeseries.cli import main

QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
SMALL = ["--data.lookback", "36", "--data.horizon", "6", "--model.window_memory.neighbours", "3"]


@pytest.fixture
def fitted(write_series, tmp_path, monkeypatch) -> tuple[Path, Path]:
    monkeypatch.chdir(tmp_path)
    path = write_series(rows=260)
    flags = ["--data.path", str(path), "--trainer.max_epochs", "2", "--model.optimizer.lr", "0.01"]
    main(["fit", "--config", "csv", *flags, *SMALL, *QUIET])
    (run,) = (tmp_path / "runs" / "timeseries" / "csv").iterdir()
    return run, path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_scores_pictures_and_forecasts(fitted, write_series, capsys):
    run, _ = fitted
    results = json.loads((run / "results.json").read_text())
    metrics = results["metrics"]
    assert {"test/mse", "test/mae", "test/crps", "test/coverage_80"} <= set(metrics)
    assert 0 < metrics["test/mse"] < 0.1  # a noisy sine of variance 1
    assert 0.5 < metrics["test/coverage_80"] <= 1
    assert any("of 2 variables have maps of their own" in note for note in results["notes"])
    shown = parts(load_run(run).task.model)
    assert sum(part.parameters for part in shown) == results["parameters"]
    names = sorted(path.name for path in (run / "figures").iterdir())
    assert names == [f"test-forecast-{number}.png" for number in range(1, 5)]

    use = ["--config", str(run / "config.yaml"), "--ckpt_path", "best", *QUIET]
    main(["predict", *use])
    forecast = rows(run / "predictions.csv")
    assert list(forecast[0]) == ["time", "column", "forecast", "lower_80", "upper_80"]
    assert [row["time"] for row in forecast[::2]] == [
        f"2020-01-11 {hour:02}:00:00" for hour in range(20, 24)
    ] + [
        "2020-01-12 00:00:00",
        "2020-01-12 01:00:00",
    ]
    assert all(float(row["lower_80"]) <= float(row["forecast"]) <= float(row["upper_80"]) for row in forecast)

    main(["predict", *use, "--data.forecast", "test", "--output", str(run / "back.csv")])
    back = rows(run / "back.csv")
    assert len(back) == 54 * 2  # 52 steps of test, and a last horizon that goes beyond them
    assert [row["truth"] == "" for row in back[-8:]] == [False] * 4 + [True] * 4
    errors = [float(row["forecast"]) - float(row["truth"]) for row in back if row["truth"]]
    assert sum(error**2 for error in errors) / len(errors) < 0.1

    later = write_series("later.csv", rows=60)
    main(["predict", *use, "--data.path", str(later), "--output", str(run / "later.csv")])
    assert rows(run / "later.csv")[0]["time"] == "2020-01-03 12:00:00"

    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["predict", *use, "--data.path", str(write_series("narrow.csv", columns=1, rows=60))])
    assert "narrow.csv has the columns x0; the model was trained on x0, x1" in capsys.readouterr().err


def test_bad_input_is_one_line_without_a_traceback(write_series, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = write_series(rows=40)
    path.write_text(path.read_text().replace("2020-01-01 03:00:00,", "2020-01-01 03:00:00,x"))
    with pytest.raises(SystemExit):
        main(["fit", "--config", "csv", "--data.path", str(path), *QUIET])
    error = capsys.readouterr().err
    assert "own.csv, line 5, column 'x0': 'x" in error
    assert "Traceback" not in error
    with pytest.raises(SystemExit):
        main(["fit", "--config", "csv", "--data.path", str(write_series("short.csv", rows=40)), *QUIET])
    assert "short.csv: the training split has 28 rows and needs 120" in capsys.readouterr().err


@pytest.mark.thorough
def test_a_resumed_run_keeps_the_weights_that_it_had_trained(write_series, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--config", "csv", "--data.path", str(write_series(rows=260)), "--model.optimizer.lr", "0.01"]
    for epochs in ("3", "1"):
        main(["fit", *flags, "--trainer.max_epochs", epochs, *SMALL, *QUIET])
    straight, stopped = sorted((tmp_path / "runs" / "timeseries" / "csv").iterdir())
    main(["fit", "--config", "csv", "--ckpt_path", "last", "--trainer.max_epochs", "3", *QUIET])
    found, expected = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for run in (stopped, straight)
    )
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
