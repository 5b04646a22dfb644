"""Every packaged config, as it stands, trains and tests on a small series of its own kind."""

from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from recollect_timeseries.cli import main
from recollect_timeseries.data import ett, weather

from ..twins import Twins, memories_by_config

FORECASTING = {
    path.stem: path
    for path in sorted(Path(str(files("recollect_timeseries"))).joinpath("configs").glob("*.yaml"))
    if "tasks.Forecasting" in path.read_text()
}
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
SMALL = ["--data.lookback", "48", "--data.horizon", "8", "--data.batch_size", "16"]


@pytest.fixture
def series(monkeypatch, tmp_path, write_series) -> dict[str, list[str]]:
    """For each data module the flags that it needs; its files stand in ``tmp_path``."""
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ett, "SHA256", dict.fromkeys(ett.SHA256))
    monkeypatch.setattr(ett, "HOURS", 300)
    monkeypatch.setattr(ett, "MONTH", 14)
    monkeypatch.setattr(weather, "ROWS", 300)
    write_series("ett/ETTh1.csv", columns=7)
    write_series("weather/weather.csv", columns=21)
    return {"EttData": [], "WeatherData": [], "Co2Data": [], "CsvData": ["--data.path", str(write_series())]}


@pytest.mark.thorough
@pytest.mark.parametrize("name", FORECASTING)
def test_a_config_trains_and_tests(name, series, tmp_path, capsys):
    config = yaml.safe_load(FORECASTING[name].read_text())
    flags = series[config["data"]["class_path"].rpartition(".")[2]]
    main(["fit", "--config", name, *SMALL, *flags, *QUIET, "--trainer.fast_dev_run", "2"])
    printed = capsys.readouterr().out
    assert "test/mse" in printed
    assert ("test/coverage_80" in printed) == config["model"]["init_args"].get("quantiles", False)
    assert "not written (fast_dev_run)" in printed
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", FORECASTING)
def test_the_first_comment_is_the_command(name):
    first = FORECASTING[name].read_text().splitlines()[0]
    chosen = "" if name == "co2" else f" --config {name}"
    assert first.startswith(f"# recollect-timeseries fit{chosen}")


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "roles"), memories_by_config("recollect_timeseries", "Forecasting").items())
def test_the_twin_has_no_memory(name, roles, series, monkeypatch):
    config = yaml.safe_load(FORECASTING[name].read_text())
    flags = series[config["data"]["class_path"].rpartition(".")[2]]
    Twins(monkeypatch, main).check(name, roles, [*SMALL, *flags, *QUIET])


def test_bare_help_names_the_configs(capsys):
    main(["--help"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in FORECASTING)
