"""Splits of clicks: what is learned from, held out and tested, and who is new."""

import random
from pathlib import Path

import pytest
import torch

from recollect.training import DataError
from recollect_recsys.data.collaborative import CollaborativeData
from recollect_recsys.data.interaction_graph import InteractionGraphData


def write(path: Path, seed: int = 0, users: int = 9, extra: str = "") -> Path:
    chance = random.Random(seed)
    rows = [f"u{user} i{item}" for user in range(users) for item in chance.sample(range(40), 15)]
    chance.shuffle(rows)
    path.write_text("\n".join(rows) + "\n" + extra)
    return path


def known_and_sought(data: CollaborativeData, split: str) -> dict[str, tuple[set[int], set[int]]]:
    dataset = data.dataset(split)  # type: ignore[arg-type]
    assert dataset is not None
    batch = dataset.__getitems__(list(range(len(dataset))))
    return {
        data.names[place]: ({i for i in seen if i}, {i for i in target if i})
        for place, seen, target in zip(
            batch.place.tolist(), batch.seen.tolist(), batch.target.tolist(), strict=True
        )
    }


def test_each_click_is_learned_from_or_held_out_or_tested(tmp_path: Path) -> None:
    data = InteractionGraphData(str(write(tmp_path / "clicks")))
    train, val, test, everything = (known_and_sought(data, s) for s in ("train", "val", "test", "predict"))
    for user in data.names:
        learned, held_out, sought = train[user][0], val[user][1], test[user][1]
        assert (len(learned), len(held_out), len(sought)) == (11, 1, 3)
        assert val[user][0] == learned
        assert test[user][0] == learned | held_out
        assert everything[user][0] == learned | held_out | sought
        assert len(everything[user][0]) == 15
    assert data.graph(held_out=True).shape == (2, 9 * 12)
    assert data.graph(held_out=False).shape == (2, 9 * 11)
    assert int(data.popularity.sum()) == 9 * 11


def test_the_order_of_the_lines_is_of_no_consequence(tmp_path: Path) -> None:
    path = write(tmp_path / "clicks")
    first = InteractionGraphData(str(path))
    path.write_text("\n".join(reversed(path.read_text().splitlines())))
    again = InteractionGraphData(str(path))
    assert known_and_sought(first, "test") == known_and_sought(again, "test")
    other = InteractionGraphData(str(path), seed=1)
    assert known_and_sought(first, "test") != known_and_sought(other, "test")


def test_clicks_that_stand_there_twice_count_once_and_are_told(tmp_path: Path) -> None:
    path = tmp_path / "clicks"
    path.write_text("a x\na y\na x\nb x\nb y\nb z\n")
    data = InteractionGraphData(str(path))
    assert data.notes[-1] == "1 clicks stand in the file twice and count once"
    assert known_and_sought(data, "predict")["a"][0] == {1, 2}


def test_users_set_aside_are_in_no_split_and_predicted_for_as_new_ones(tmp_path: Path) -> None:
    path = str(write(tmp_path / "clicks", users=30))
    data, all_of_them = InteractionGraphData(path, new_users=0.3), InteractionGraphData(path)
    new = {name for name, is_new in zip(data.names, data.is_new.tolist(), strict=True) if is_new}
    assert 3 < len(new) < 20
    for split in ("train", "val", "test"):
        found = known_and_sought(data, split)
        assert set(found) == set(data.names) - new
    everything = data.dataset("predict")
    assert everything is not None
    batch = everything.__getitems__(list(range(30)))
    named = dict(zip((data.names[p] for p in batch.place.tolist()), batch.user.tolist(), strict=True))
    assert {name for name, number in named.items() if number == 0} == new
    assert known_and_sought(data, "predict") == known_and_sought(all_of_them, "predict")
    assert data.graph(held_out=True).shape == (2, 12 * (30 - len(new)))
    assert sorted(set(data.graph(held_out=True)[0].tolist())) == list(range(1, 31 - len(new)))
    assert data.notes[-1] == f"{len(new)} users are set aside as newcomers"
    with pytest.raises(ValueError, match="new_users must be in"):
        InteractionGraphData("clicks", new_users=1.0)


def test_without_a_holdout_there_is_no_validation(tmp_path: Path) -> None:
    data = InteractionGraphData(str(write(tmp_path / "clicks")), holdout=0)
    assert data.dataset("val") is None
    assert data.val_dataloader() == []
    with pytest.raises(ValueError, match="holdout must be in"):
        InteractionGraphData("clicks", holdout=1.0)


def test_a_restored_catalogue_knows_its_users_and_takes_others_for_new(tmp_path: Path) -> None:
    trained = InteractionGraphData(str(write(tmp_path / "clicks")))
    state = trained.state_dict()
    newer = InteractionGraphData(str(write(tmp_path / "newer", seed=5, users=12, extra="u0 never\n")))
    newer.load_state_dict(state)
    with pytest.warns(UserWarning, match=r"1 items are left out.*'never' \(line 181\)"):
        dataset = newer.dataset("predict")
    assert dataset is not None
    batch = dataset.__getitems__(list(range(12)))
    named = dict(zip((newer.names[p] for p in batch.place.tolist()), batch.user.tolist(), strict=True))
    assert {named[f"u{n}"] for n in range(9)} == set(range(1, 10))
    assert [named[f"u{n}"] for n in (9, 10, 11)] == [0, 0, 0]
    assert torch.equal(newer.graph(True), trained.graph(True))


def test_users_are_picked_by_name_and_unknown_ones_named(tmp_path: Path) -> None:
    path = str(write(tmp_path / "clicks"))
    assert list(known_and_sought(InteractionGraphData(path, users=["u3", "u1"]), "predict")) == ["u3", "u1"]
    with pytest.raises(DataError, match="'nobody'"):
        InteractionGraphData(path, users=["nobody"]).dataset("predict")


def test_users_with_one_click_each_cannot_be_measured(tmp_path: Path) -> None:
    path = tmp_path / "clicks"
    path.write_text("a x\nb y\n")
    with pytest.raises(DataError, match="nobody has items enough"):
        InteractionGraphData(str(path)).dataset("test")
