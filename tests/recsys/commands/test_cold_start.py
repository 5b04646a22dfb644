"""NDCG by number of clicks of users who arrive after training."""

import random
from pathlib import Path

import pytest
import torch

from recollect.training import DataError, Task, TrainedRun, load_run
from recollect_recsys.cli import main
from recollect_recsys.commands.cold_start import CLICKS, ndcg_by_clicks, report
from recollect_recsys.data.interactions import InteractionsData
from recollect_recsys.models.gru4rec import GRU4Rec
from recollect_recsys.tasks import NextItem


def run(folder: Path, new_users: float) -> TrainedRun:
    path = folder / "own.txt"
    path.write_text("".join(f"u{u} i{(u + n) % 12}\n" for u in range(30) for n in range(4)))
    data = InteractionsData(str(path), window=3, new_users=new_users)
    task = NextItem(GRU4Rec(8))
    task.model = task.build_model(data)
    # The item after the last click is always the next one: the model is made to know it.
    task.model.forward = lambda batch: torch.nn.functional.one_hot(batch.session, 13).float()
    after = torch.zeros(13, 13)
    for place, name in enumerate(data.items):
        following = data.items.index(f"i{(int(name[1:]) + 1) % 12}") + 1
        after[following, place + 1] = 1
    task.model.scores = lambda states: (states @ after.T).index_fill(-1, torch.tensor([0]), -torch.inf)
    return TrainedRun(task, data)


def test_figures_are_of_those_set_aside_after_their_first_clicks(tmp_path: Path) -> None:
    made = run(tmp_path, 0.4)
    new = int(made.data.is_new.sum())
    nothing, one, three, ten = ndcg_by_clicks(made, clicks=(0, 1, 3, 10))
    assert [row.users for row in (nothing, one, three, ten)] == [new, new, new, 0]
    assert one.ndcg == three.ndcg == 1
    assert one.error == 0
    assert nothing.ndcg < 0.5  # all items are equal before the first click: the middle of twelve
    assert ten.ndcg != ten.ndcg  # nobody has eleven items


def test_without_newcomers_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--data\.new_users 0\.1"):
        ndcg_by_clicks(run(tmp_path, 0.0))


def test_a_task_of_ones_own_is_named() -> None:
    class Own(Task):
        """Abstract, for nothing of it is called."""

    Own.__abstractmethods__ = frozenset()
    with pytest.raises(
        DataError, match="somewhere is not a run of NextItem or CollaborativeFiltering but of Own"
    ):
        report("somewhere", TrainedRun(Own.__new__(Own), None))


def graph_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> TrainedRun:
    """Of users who like the even items and users who like the odd ones."""
    monkeypatch.chdir(folder)
    chance = random.Random(0)
    rows = [f"u{u} i{2 * n + u % 2}" for u in range(60) for n in chance.sample(range(25), 15)]
    Path("own.txt").write_text("\n".join(rows))
    main(["fit", "--config", "interactions-graph", "--data.path", "own.txt", "--data.new_users", "0.2"])
    return load_run(next(Path("runs/recsys/interactions-graph").iterdir()))


def test_of_a_graph_the_first_click_tells_what_a_newcomer_likes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = graph_run(tmp_path, monkeypatch)
    data, new = found.data, int(found.data.is_new.sum())
    learned = set(data.graph(held_out=True)[0].tolist())
    assert len(learned) == 60 - new
    nothing, one, ten, twenty = ndcg_by_clicks(found, clicks=(0, 1, 10, 20))
    assert [row.users for row in (nothing, one, ten, twenty)] == [new, new, new, 0]
    assert one.ndcg > nothing.ndcg + 0.05  # half of the items are out of question now
    assert ten.ndcg > one.ndcg  # ten items are known, so that fewer are left to choose from
    one, ten = data.cold_start(1), data.cold_start(10)
    for row in range(new):
        first, more = one[row], ten[row]
        assert set(first.seen[0].tolist()) < set(more.seen[0].tolist())
        assert torch.equal(first.target, more.target)
        assert not set(more.seen[0].tolist()) & set(more.target[0].tolist())
        assert first.user.tolist() == [0]
    capsys.readouterr()
    (folder,) = Path("runs/recsys/interactions-graph").iterdir()
    main(["cold-start", str(folder)])
    title, *rows = capsys.readouterr().out.splitlines()
    assert title == str(folder)
    assert [row.split()[:3] for row in rows] == [[str(n), "clicks", "NDCG@20"] for n in CLICKS]
    assert f"({new} users)" in rows[0]
