"""NDCG by number of clicks of users who arrive after training."""

from pathlib import Path

import pytest
import torch

from recollect.training import DataError, TrainedRun
from recollect_recsys.data.own import InteractionsData
from recollect_recsys.models.gru4rec import GRU4Rec
from recollect_recsys.newcomers import by_clicks
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
    nothing, one, three, ten = by_clicks(made, clicks=(0, 1, 3, 10))
    assert [row.users for row in (nothing, one, three, ten)] == [new, new, new, 0]
    assert one.ndcg == three.ndcg == 1
    assert one.error == 0
    assert nothing.ndcg < 0.5  # all items are equal before the first click: the middle of twelve
    assert ten.ndcg != ten.ndcg  # nobody has eleven items


def test_without_newcomers_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--data\.new_users 0\.1"):
        by_clicks(run(tmp_path, 0.0))
