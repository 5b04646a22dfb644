"""Every packaged config, as it stands, trains and tests on a few users of its own kind."""

import random
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from recollect_recsys.cli import main
from recollect_recsys.data import ml_1m, ml_100k

from ..twins import Twins, memories_by_config

CONFIGS = {
    path.stem: path
    for path in sorted(Path(str(files("recollect_recsys"))).joinpath("configs").glob("*.yaml"))
    if "tasks.NextItem" in path.read_text()
}
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
ITEMS = 40


def ratings(mark: str) -> str:
    chance = random.Random(0)
    rows = [
        (user, item, 5, chance.randrange(9)) for user in range(12) for item in chance.sample(range(ITEMS), 15)
    ]
    return "".join(mark.join(map(str, row)) + "\n" for row in rows)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """For each data module the flags that it needs; its files stand in ``tmp_path``."""
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for module, file, mark in ((ml_100k, "ml-100k/u.data", "\t"), (ml_1m, "ml-1m/ratings.dat", "::")):
        path = tmp_path / file
        path.parent.mkdir()
        path.write_text(ratings(mark))
        monkeypatch.setattr(module, "RATINGS", 12 * 15)
    own = tmp_path / "own.csv"
    own.write_text(ratings(","))
    return {
        "SyntheticData": ["--data.count", "20"],
        "InteractionsData": ["--data.path", str(own)],
        "MovieLens100kData": [],
        "MovieLens1mData": [],
    }


@pytest.mark.thorough
@pytest.mark.parametrize("name", CONFIGS)
def test_the_config_trains_and_tests(
    name: str, small: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = yaml.safe_load(CONFIGS[name].read_text())
    flags = small[config["data"]["class_path"].rpartition(".")[2]]
    main(["fit", "--config", name, *flags, *QUIET, "--trainer.fast_dev_run", "1"])
    reported = {word for line in capsys.readouterr().out.splitlines() for word in line.split()}
    assert {"test/ndcg@10", "test/hr@10", "test/mrr", "test/ndcg@10_se", "test/recall@20"} <= reported
    assert "test/coverage@10" in reported
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", CONFIGS)
def test_the_first_comment_is_the_command(name: str) -> None:
    first = CONFIGS[name].read_text().splitlines()[0]
    command = "# recollect-recsys fit" + ("" if name == "tastes" else f" --config {name}")
    assert first == command or first.startswith(f"{command} --")


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "roles"), memories_by_config("recollect_recsys", "NextItem").items())
def test_the_twin_has_no_memory(
    name: str, roles: list[str], small: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load(CONFIGS[name].read_text())
    flags = small[config["data"]["class_path"].rpartition(".")[2]]
    Twins(monkeypatch, main).check(name, roles, [*flags, *QUIET])


def test_bare_help_names_the_configs(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in CONFIGS)
