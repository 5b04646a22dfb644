"""Anomaly detection from the command line: own files, every config, results, predictions."""

import csv
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from recollect.training import load_run
from recollect_timeseries.cli import main
from recollect_timeseries.tasks.anomaly_detection import AnomalyDetection, shift_left

from ...twins import Twins, memories_by_config

CONFIGS = {
    path.stem: path
    for path in sorted(Path(str(files("recollect_timeseries"))).joinpath("configs").glob("*.yaml"))
    if "tasks.AnomalyDetection" in path.read_text()
}
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
SMALL = ["--data.window", "8", "--data.batch_size", "32"]
PATCHES_ONLY = (
    "{class_path: recollect_timeseries.models.memory_detector.MemoryDetector, init_args: {autoencoder: null}}"
)
REPORTED = {"test/vus_pr", "test/vus_roc", "test/auc_pr", "test/best_f1", "test/best_f1_adjusted", "test/f1"}


def write_own(path: Path, steps: int = 400, label: bool = True) -> None:
    """A wave with a flat stretch that is wrong."""
    wrong = (np.arange(steps) >= steps - 60) & (np.arange(steps) < steps - 40)
    chance = np.random.default_rng(steps)
    values = np.where(wrong, 0.9, np.sin(np.arange(steps) / 3)) + 0.02 * chance.normal(size=steps)
    table = {"time": pd.date_range("2020-01-01", periods=steps, freq="h"), "value": values.round(4)}
    pd.DataFrame(table | ({"wrong": wrong.astype(int)} if label else {})).to_csv(path, index=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    write_own(tmp_path / "own.csv")
    return tmp_path


@pytest.fixture
def benchmarks(folder):
    """SMAP and NAB with two short channels each."""
    chance = np.random.default_rng(0)
    for part, steps in (("train", 120), ("test", 150)):
        (folder / "SMAP" / part).mkdir(parents=True)
        for name in ("A-1", "P-2"):
            np.save(folder / "SMAP" / part / f"{name}.npy", chance.normal(size=(steps, 25)).round(2))
    rows = [f'{name},SMAP,"[[100, 110]]",[point],150' for name in ("A-1", "P-2")]
    header = "chan_id,spacecraft,anomaly_sequences,class,num_values"
    (folder / "SMAP" / "labeled_anomalies.csv").write_text("\n".join([header, *rows]))
    (folder / "NAB" / "labels").mkdir(parents=True)
    (folder / "NAB" / "data" / "real").mkdir(parents=True)
    stamps = pd.date_range("2014-01-01", periods=400, freq="3min")
    for name in ("a", "b"):
        table = {"timestamp": stamps, "value": np.sin(np.arange(400) / 2) + 0.1 * chance.normal(size=400)}
        pd.DataFrame(table).to_csv(folder / "NAB" / "data" / "real" / f"{name}.csv", index=False)
    windows = {"real/a.csv": [["2014-01-01 10:00:00", "2014-01-01 11:00:00"]], "real/b.csv": []}
    (folder / "NAB" / "labels" / "combined_windows.json").write_text(json.dumps(windows))


@pytest.mark.thorough
@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_trains_and_tests(name, benchmarks, folder, capsys):
    own = ["--data.path", "own.csv", "--data.label", "wrong"] if name == "anomalies" else []
    main(["fit", "--config", name, *own, *SMALL, *QUIET, "--trainer.fast_dev_run", "2"])
    printed = set(capsys.readouterr().out.split())
    assert printed >= REPORTED
    assert not (folder / "runs").exists()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "roles"), memories_by_config("recollect_timeseries", "AnomalyDetection").items()
)
def test_the_twin_has_no_memory(name, roles, benchmarks, monkeypatch):
    own = ["--data.path", "own.csv", "--data.label", "wrong"] if name == "anomalies" else []
    Twins(monkeypatch, main).check(name, roles, [*own, *SMALL, *QUIET])


def test_random_scores_are_flags_of_a_baseline(benchmarks, capsys):
    random = ["--model.detector", "recollect_timeseries.models.random_detector.RandomDetector"]
    given = ["--config", "smap-pca", *random, "--data.commands", "false"]
    main(["fit", *given, *SMALL, *QUIET, "--trainer.fast_dev_run", "1"])
    assert "test/vus_pr" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--model.memory", "null", "--model.detector", PATCHES_ONLY], "a memory of patches, an autoencoder"),
        (["--model.detector", PATCHES_ONLY], "a memory of prototypes needs an autoencoder"),
        (["--model.detector", "recollect_timeseries.models.pca_detector.PcaDetector"], "takes no memory"),
    ],
)
def test_a_memory_that_does_not_fit_the_detector_is_refused(wrong, message, folder, capsys):
    with pytest.raises(SystemExit) as stop:
        fit("--data.label", "wrong", *wrong)
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("name", CONFIGS)
def test_the_first_comment_is_the_command(name):
    first = CONFIGS[name].read_text().splitlines()[0]
    assert first.startswith(f"# recollect-timeseries fit --config {name}")


def fit(*flags: str) -> Path:
    main(["fit", "--config", "anomalies", "--data.path", "own.csv", *SMALL, *QUIET, *flags])
    (run,) = Path("runs/timeseries/anomalies").iterdir()
    return run


def test_an_own_file_from_training_to_prediction(folder, capsys):
    run = fit("--data.label", "wrong", "--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "1")
    metrics = json.loads((run / "results.json").read_text())["metrics"]
    assert metrics.keys() >= REPORTED
    assert metrics["test/vus_pr"] > 0.8
    assert metrics["test/f1"] > 0.5  # by a threshold that has seen no label
    assert (run / "series.csv").read_text().startswith("series,vus_pr,vus_roc,auc_pr,best_f1")
    assert [path.name for path in (run / "figures").iterdir()] == ["test-anomalies.png"]

    write_own(folder / "new.csv", steps=200, label=False)
    config = str(run / "config.yaml")
    new = ["--data.path", "new.csv", "--output", "scores.csv"]
    main(["predict", "--config", config, "--ckpt_path", "best", *new, *QUIET])
    with Path("scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["series", "time", "score", "anomaly"]
    assert (len(rows), rows[1]["time"]) == (200, "2020-01-01 01:00:00")
    called = np.array([int(row["anomaly"]) for row in rows])
    assert called[142:158].mean() > 0.9
    assert called[10:130].mean() < 0.1

    run_as_a_stream(run, [float(row["score"]) for row in rows])


def run_as_a_stream(run: Path, scores: list[float]) -> None:
    """The trained detector, given the file point by point, says what ``predict`` wrote."""
    task, data = load_run(run, path="new.csv")
    assert isinstance(task, AnomalyDetection)
    state, found = task.model.initial_state(), []
    for point in data.dataset("predict")[0].values:
        score, state = task.model(point.unsqueeze(0), state=state)
        found.append(score)
    late = (task.model.window(0) + task.model.span - 2) // 2
    torch.testing.assert_close(shift_left(torch.cat(found), late), torch.tensor(scores), rtol=1e-3, atol=1e-4)


def test_without_labels_there_are_thresholds_and_no_measures(folder, capsys):
    run = fit("--data.columns", '["value"]', "--trainer.max_epochs", "1", "--trainer.log_every_n_steps", "1")
    results = json.loads((run / "results.json").read_text())
    assert not results["metrics"].keys() & REPORTED
    assert any("1 of 1 series have no labelled anomaly" in note for note in results["notes"])


def test_mistakes_are_said(folder, capsys):
    lines = Path("own.csv").read_text().splitlines()
    lines[6] = "2020-01-01 05:00:00,much,0"
    Path("own.csv").write_text("\n".join(lines))
    with pytest.raises(SystemExit) as stop:
        fit()
    assert stop.value.code == 1
    assert "own.csv, line 7, column 'value': 'much' is no finite number" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "anomalies", *QUIET])
    assert stop.value.code == 2
    assert "--data.path is missing" in capsys.readouterr().err


def test_arguments_out_of_range():
    for wrong in ({"place": "start"}, {"quantile": 0.0}, {"buffer": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            AnomalyDetection(detector=lambda sizes: None, **wrong)
