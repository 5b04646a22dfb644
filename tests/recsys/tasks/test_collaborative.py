"""What is chosen among settings of a model that learns nothing by descent."""

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest

from recollect.training import load_run
from recollect.training.errors import ArgumentError
from recollect_recsys.cli import main
from recollect_recsys.data.interaction_graph import InteractionGraphData
from recollect_recsys.models.graph_filter import GraphFilter
from recollect_recsys.tasks import CollaborativeFiltering

FIT = ["fit", "--config", "interactions-graph", "--data.path", "own.txt"]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Users who have some of twelve kinds."""
    monkeypatch.chdir(tmp_path)
    chance = random.Random(0)
    rows = []
    for user in range(80):
        kinds = chance.sample(range(12), 2)
        for kind in kinds:
            rows += [f"u{user} i{kind}-{number}" for number in chance.sample(range(12), 7)]
    path = tmp_path / "own.txt"
    path.write_text("\n".join(rows))
    return path


def fit(*flags: str) -> tuple[Path, dict[str, Any]]:
    """The run folder, and what its results say."""
    main([*FIT, *flags, "--trainer.enable_progress_bar", "false"])
    run = max(Path("runs/recsys/interactions-graph").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return run, json.loads((run / "results.json").read_text())


def test_of_several_settings_the_one_with_the_best_validation_is_tested(own: Path) -> None:
    run, results = fit()
    with (run / "metrics.csv").open() as file:
        found = [float(row["val/ndcg@20"]) for row in csv.DictReader(file) if row["val/ndcg@20"]]
    assert results["epochs"] == len(found) == 8
    assert len(set(found)) > 2
    model = load_run(run).task.model
    assert model.pairs == [(loss, balance) for loss in (0.03, 0.1, 0.3, 1.0) for balance in (0.0, 0.2)]
    assert found[int(model.chosen)] == max(found)
    loss, balance = model.pairs[int(model.chosen)]
    assert f"loss {loss:g} and balance {balance:g} chosen by validation among 8 pairs" in results["notes"]
    one = "--model.memory.init_args."
    _, alone = fit(f"{one}loss", str(loss), f"{one}balance", str(balance))
    assert alone["metrics"] == results["metrics"]
    assert alone["epochs"] == 1


def test_without_a_holdout_nothing_can_be_chosen(own: Path) -> None:
    def make(loss: list[float]) -> CollaborativeFiltering:
        return CollaborativeFiltering(lambda sizes: GraphFilter(sizes, loss=loss))

    data = InteractionGraphData(str(own), holdout=0)
    with pytest.raises(ArgumentError, match=r"--data\.holdout is 0.* 2 settings"):
        make([0.1, 0.3]).build_model(data)
    assert make([0.1]).build_model(data).candidates == 1
