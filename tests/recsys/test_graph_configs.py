"""Every packaged config of clicks as a graph trains, tests and predicts on a few users of its own kind."""

import json
import random
from importlib.resources import files
from pathlib import Path

import pytest

from recollect.training import load_run
from recollect_recsys.cli import main
from recollect_recsys.data.events import read_events
from recollect_recsys.data.gowalla import GowallaData
from recollect_recsys.data.item_lists import read_item_lists
from recollect_recsys.data.lastfm import LastFmData
from recollect_recsys.data.ml_1m_split import MovieLens1mSplit
from recollect_recsys.data.published_split import Part, fingerprint
from recollect_recsys.serving.collaborative import GraphRecommender

from ..twins import Twins, memories_by_config

CONFIGS = {
    path.stem: path
    for path in sorted(Path(str(files("recollect_recsys"))).joinpath("configs").glob("*.yaml"))
    if "tasks.CollaborativeFiltering" in path.read_text()
}
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]


def pairs(seed: int, most: int) -> list[tuple[int, list[int]]]:
    chance = random.Random(seed)
    return [(user, sorted(chance.sample(range(seed * 50, 50 + seed * 50), most))) for user in range(12)]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Published splits of a few users, and a file of one's own."""
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for kind, reader in (
        (GowallaData, read_item_lists),
        (MovieLens1mSplit, read_item_lists),
        (LastFmData, read_events),
    ):
        (tmp_path / kind.folder).mkdir()
        parts = []
        for name, rows in (("train.txt", pairs(0, 15)), ("test.txt", pairs(1, 3))):
            path = tmp_path / kind.folder / name
            if kind is LastFmData:
                path.write_text("".join(f"{user}\t{item}\t9\n" for user, items in rows for item in items))
            else:
                path.write_text("".join(" ".join(map(str, [user, *items])) + "\n" for user, items in rows))
            parts.append(Part(name, fingerprint(reader(path))))
        monkeypatch.setattr(kind, "parts", tuple(parts))
    own = tmp_path / "own.csv"
    own.write_text("".join(f"u{user},i{item}\n" for user, items in pairs(0, 15) for item in items))
    return own


@pytest.mark.thorough
@pytest.mark.parametrize("name", CONFIGS)
def test_the_config_trains_and_tests(name: str, small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = ["--data.path", str(small)] if "InteractionGraphData" in CONFIGS[name].read_text() else []
    main(["fit", "--config", name, *own, *QUIET, "--trainer.fast_dev_run", "1"])
    reported = {word for line in capsys.readouterr().out.splitlines() for word in line.split()}
    assert {"test/ndcg@20", "test/recall@20", "test/ndcg@20_se", "test/recall@20_se"} <= reported


@pytest.mark.parametrize("name", CONFIGS)
def test_the_first_comment_is_the_command(name: str) -> None:
    first = CONFIGS[name].read_text().splitlines()[0]
    command = f"# recollect-recsys fit --config {name}"
    assert first == command or first.startswith(f"{command} --")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "roles"), memories_by_config("recollect_recsys", "CollaborativeFiltering").items()
)
def test_the_twin_has_no_memory(
    name: str, roles: list[str], small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ["--data.path", str(small)] if "InteractionGraphData" in CONFIGS[name].read_text() else []
    Twins(monkeypatch, main).check(name, roles, [*own, *QUIET])


def test_the_same_list_for_everybody_is_a_flag(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    popularity = ["--model.recommender", "recollect_recsys.models.popularity.Popularity"]
    twin = ["--config", "lastfm-filter", "--config", "without-memory"]
    main(["fit", *twin, *popularity, *QUIET, "--trainer.fast_dev_run", "1"])
    assert "test/recall@20" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["interactions-graph", "lastfm"])
def test_a_run_leaves_results_pictures_lists_with_reasons_and_serves(name: str, small: Path) -> None:
    own = ["--data.path", str(small)] if name == "interactions-graph" else []
    main(["fit", "--config", name, *own, *QUIET, "--trainer.max_epochs", "5"])
    (run,) = (small.parent / "runs" / "recsys" / name).iterdir()
    results = json.loads((run / "results.json").read_text())
    assert 0 <= results["metrics"]["test/recall@20"] <= 1
    names = {path.name for path in (run / "figures").glob("test-*")}
    assert names == {"test-history-length.png", "test-popularity.png", "test-read.png"}
    user = "u3" if own else "3"
    wanted = ["--ckpt_path", "best", "--data.users", f"['{user}']", "--output", "lists.jsonl"]
    main(["predict", "--config", str(run / "config.yaml"), *wanted, *QUIET])
    (line,) = Path("lists.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert row["user"] == user
    assert len(row["items"]) == len(row["scores"]) == len(row["because"]) == 10
    assert all(part["share"] > 0 for parts in row["because"] for part in parts)
    trained = load_run(run)
    service = GraphRecommender.from_run(trained, max_users=5)
    known = trained.data.items[:3]  # type: ignore[attr-defined]
    service.click("somebody", known)
    assert not set(known) & set(service.recommend("somebody").items)
