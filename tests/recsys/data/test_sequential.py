"""Splits: last item test, the one before validation; who is measured; newcomers; sessions."""

from pathlib import Path

import pytest
import torch

from recollect.training import DataError
from recollect_recsys.data.interactions import InteractionsData
from recollect_recsys.data.sessions import SessionDataset
from recollect_recsys.types import SessionBatch

LONG = [f"i{n}" for n in range(9)]


def data(folder: Path, histories: dict[str, list[str]], **arguments) -> InteractionsData:
    path = folder / "own.txt"
    path.write_text("".join(f"{user} {item}\n" for user, items in histories.items() for item in items))
    return InteractionsData(str(path), **{"window": 3, "past": 4, **arguments})


def whole(sessions: SessionDataset) -> SessionBatch:
    return sessions.cut(torch.arange(len(sessions)))


def test_the_last_item_is_the_test_and_the_one_before_validation(tmp_path: Path) -> None:
    made = data(tmp_path, {"a": LONG})
    for split, place in (("val", 7), ("test", 8)):
        batch = whole(made.dataset(split))
        assert batch.target[0, -1] == place + 1
        assert batch.session[0].tolist() == [place - 2, place - 1, place]
        assert batch.past[0].tolist() == list(range(1, place - 2))[-4:]
        assert batch.seen[0].tolist() == list(range(1, place + 1))


def test_training_foretells_each_item_once_and_nothing_held_out(tmp_path: Path) -> None:
    batch = whole(data(tmp_path, {"a": LONG, "b": ["i3", "i4", "i0"]}).dataset("train"))
    foretold = sorted(int(item) for item in batch.target.flatten() if item)
    assert foretold == [1, 2, 3, 4, 4, 5, 6, 7]  # b's only training item is i3
    assert not {8, 9} & set(torch.cat([batch.session, batch.past], 1).flatten().tolist())
    for session, target, past in zip(batch.session, batch.target, batch.past, strict=True):
        told = [int(item) for item in (*past, *session) if item]
        following = [int(item) for item in target if item]
        assert following[-1] not in told  # what is foretold is not given
        assert told[-(len(following) - 1) :] == following[:-1] or len(following) == 1


def test_training_says_what_was_seen_unless_it_may_come_again(tmp_path: Path) -> None:
    histories = {"a": LONG, "b": LONG[2:6]}
    for repeats in (False, True):
        batch = whole(data(tmp_path, histories, repeats=repeats).dataset("train"))
        if repeats:
            assert batch.seen.shape[1] == 0
            continue
        for target, seen in zip(batch.target, batch.seen, strict=True):
            last = int(target[target > 0][-1])
            before = [int(item) for item in seen if item]
            assert last not in before
            assert before == list(range(3 if before[:1] == [3] else 1, last))


def test_a_session_begins_with_nothing(tmp_path: Path) -> None:
    batch = whole(data(tmp_path, {"a": LONG[:3]}).dataset("train"))
    assert batch.session.tolist() == [[0]]
    assert batch.target.tolist() == [[1]]


def test_short_users_are_learned_from_and_not_measured(tmp_path: Path) -> None:
    made = data(tmp_path, {"a": LONG[:4], "b": LONG[:1], "c": LONG[:2]})
    assert len(made.dataset("test")) == len(made.dataset("val")) == 1
    assert set(made.dataset("train").windows.user.tolist()) == {0, 1, 2}
    assert "2 users have fewer than 3 items and are trained on, not measured" in made.notes


def test_a_file_in_which_nobody_can_be_measured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"own\.txt: no user has 3 items"):
        data(tmp_path, {"b": LONG[:1]}).dataset("test")


def test_popularity_is_that_of_the_training_split(tmp_path: Path) -> None:
    made = data(tmp_path, {"a": LONG[:5], "b": LONG[:3]})
    assert made.popularity.tolist() == [0, 2, 1, 1, 0, 0]


def test_newcomers_are_in_no_other_split_and_come_with_their_first_clicks(tmp_path: Path) -> None:
    made = data(tmp_path, {f"u{n}": LONG for n in range(40)}, new_users=0.5)
    new = set(torch.nonzero(made.is_new).flatten().tolist())
    assert 5 < len(new) < 35
    for split in ("train", "val", "test"):
        assert not new & set(made.dataset(split).windows.user.tolist())
    batch = whole(made.cold_start(2))
    assert set(batch.user.tolist()) == new
    assert batch.session[0].tolist() == [0, 1, 2]
    assert batch.target[0, -1] == 3
    assert whole(made.cold_start(0)).session.flatten().tolist() == [0] * len(new)
    assert f"{len(new)} users are set aside as newcomers" in made.notes


def test_prediction_takes_whole_histories_of_the_users_asked_for(tmp_path: Path) -> None:
    made = data(tmp_path, {"a": LONG, "b": LONG[:1]}, users=["b"])
    batch = whole(made.dataset("predict"))
    assert batch.session.tolist() == [[0, 1]]
    assert batch.target.tolist() == [[1, 0]]
    with pytest.raises(DataError, match="'nobody'"):
        data(tmp_path, {"a": LONG}, users=["nobody"]).dataset("predict")


def test_the_catalogue_of_a_checkpoint_stays_and_unknown_items_are_left_out(tmp_path: Path) -> None:
    trained = data(tmp_path, {"a": LONG})
    saved = trained.state_dict()
    other = data(tmp_path, {"z": ["i8", "new", "i0"], "y": ["new"]})
    other.load_state_dict(saved)
    with pytest.warns(UserWarning, match="'new'"):
        batch = whole(other.dataset("predict"))
    assert other.items == LONG
    assert batch.session.tolist() == [[0, 0, 0], [0, 9, 1]]  # y has no known item: an empty history
    assert batch.length.tolist() == [1, 3]


@pytest.mark.parametrize("wrong", [{"window": 0}, {"past": -1}, {"new_users": 1.0}])
def test_arguments_out_of_range_are_refused(wrong: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        data(tmp_path, {"a": LONG}, **wrong)
