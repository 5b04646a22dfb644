"""Recommending from the command line: what a run leaves, and the lists that it writes."""

import csv
import json
from pathlib import Path

import pytest

from recollect.training import load_run
from recollect.training.callbacks.parts_summary import parts
from recollect_recsys.serving.sequential import Recommender

QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
SMALL = ["--data.count", "40", "--data.new_users", "0.2", "--trainer.max_epochs", "1"]
SMALL += ["--trainer.log_every_n_steps", "1", "--model.num_explanations", "3"]


def run(root: Path, *args: str) -> None:
    from recollect_recsys.cli import main

    main([*args, "--trainer.default_root_dir", str(root), *QUIET])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tastes")
    run(root, "fit", *SMALL)
    (folder,) = (root / "runs" / "recsys" / "tastes").iterdir()
    return folder


def predict(trained: Path, output: Path, *flags: str) -> None:
    config = ["--config", str(trained / "config.yaml"), "--ckpt_path", "last"]
    run(output.parent, "predict", *config, "--output", str(output), *flags)


def test_a_run_leaves_figures_with_errors_the_best_possible_and_figures(trained: Path) -> None:
    results = json.loads((trained / "results.json").read_text())
    assert 0 <= results["metrics"]["test/ndcg@10"] <= 1
    assert {"test/ndcg@10_se", "test/mrr", "test/recall@20", "test/coverage@10"} <= results["metrics"].keys()
    assert any(note.startswith("best possible, knowing every taste: HR@10 0.") for note in results["notes"])
    names = {path.name for path in (trained / "figures").iterdir()}
    assert names == {f"test-{kind}.png" for kind in ("history-length", "popularity", "memory-use", "read")}


def test_the_parts_that_are_shown_add_up_to_all_parameters(trained: Path) -> None:
    found = parts(load_run(trained).task.model)
    assert len(found) > 1
    total = sum(part.parameters for part in found)
    assert total == json.loads((trained / "results.json").read_text())["parameters"]


def test_each_user_gets_a_list_with_reasons(trained: Path, tmp_path: Path) -> None:
    predict(trained, tmp_path / "lists.jsonl", "--data.users", "[7, 3]", "--model.top", "5")
    rows = [json.loads(line) for line in (tmp_path / "lists.jsonl").read_text().splitlines()]
    assert [row["user"] for row in rows] == ["7", "3"]
    data = load_run(trained).data
    for row in rows:
        seen = {data.items[item - 1] for item in data.histories.items_of(int(row["user"]))}
        assert len(set(row["items"])) == 5
        assert not seen & set(row["items"])
        assert row["scores"] == sorted(row["scores"], reverse=True)
        assert {part["item"] for part in row["read"]} <= seen
        weights = [part["weight"] for part in row["read"]]
        assert len(weights) == 3
        assert weights == sorted(weights, reverse=True)
        assert 0 < sum(weights) <= 1.001


def test_lists_are_written_as_a_table_too(trained: Path, tmp_path: Path) -> None:
    predict(trained, tmp_path / "lists.csv", "--data.users", "['7']")
    with (tmp_path / "lists.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["user"] == "7"
    assert len(json.loads(row["items"])) == 10
    assert json.loads(row["read"])[0].keys() == {"item", "weight"}


def test_a_trained_run_serves_and_its_list_is_that_of_predict(trained: Path, tmp_path: Path) -> None:
    predict(trained, tmp_path / "lists.jsonl", "--data.users", "['7']")
    row = json.loads((tmp_path / "lists.jsonl").read_text())
    loaded = load_run(trained, checkpoint="last")
    service = Recommender.from_run(loaded)
    service.click("somebody", [loaded.data.items[item - 1] for item in loaded.data.histories.items_of(7)])
    assert service.recommend("somebody").scores == pytest.approx(row["scores"], abs=1e-4)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ["--config", "ml-100k", "--data.window", "60"],
            "--data.window 60 is more than the 50 steps of SASRec",
        ),
        (["--data.past", "31"], "--data.past 31 is more than the memory holds: there is room for 30"),
        (["--model.negatives", "0"], "negatives must be at least 1"),
        (["--data.new_users", "1.5"], "new_users must be in"),
    ],
)
def test_what_does_not_go_together_is_refused(
    flags: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RECOLLECT_DATA", str(tmp_path))
    (tmp_path / "ml-100k").mkdir()
    (tmp_path / "ml-100k" / "u.data").write_text("1\t2\t3\t4\n")
    own = [] if "--config" in flags else ["--data.count", "20"]
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, "fit", *flags, *own)
    assert stopped.value.code == 2
    assert told in " ".join(capsys.readouterr().err.split())
