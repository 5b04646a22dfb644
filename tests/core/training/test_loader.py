"""Batches: shared exactly, and resumed where they were left."""

import itertools
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recollect_tiny.data import RecallData

from recollect.training.loader import Loader, share
from recollect.training.seeding import random_states, set_random_states


@given(sizes=st.lists(st.integers(1, 7), min_size=1, max_size=12), world=st.integers(1, 5))
def test_every_item_goes_to_one_process_and_all_take_equally_many_steps(sizes: list[int], world: int):
    items = iter(range(1000))
    batches = [[next(items) for _ in range(size)] for size in sizes]
    parts = [share(batches, world, rank) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1
    assert all(batch for part in parts for batch in part)
    dealt = [batch for turn in zip(*parts, strict=True) for batch in turn]
    flat = [item for batch in dealt for item in batch]
    if sum(sizes) >= world * -(-len(sizes) // world):
        assert flat == list(range(sum(sizes)))  # in order, so that predictions can be put together again
    else:
        assert set(flat) == set(range(sum(sizes)))
    assert all(len(batch) <= max(sizes) for batch in dealt)


def numbers(loader: Loader) -> list[list[int]]:
    return [batch[1].tolist() for batch in loader]


def test_shuffling_depends_on_seed_and_epoch_alone():
    orders = {}
    for seed in (0, 1):
        data = RecallData(batch_size=4, size=64, seed=seed)
        for epoch in (0, 1):
            loader = data.loader("train")
            loader.batch_sampler.sampler.set_epoch(epoch)
            orders[seed, epoch] = str(numbers(loader))
            assert orders[seed, epoch] == str(numbers(loader))
    assert len(set(orders.values())) == 4
    validation = RecallData(batch_size=4).loader("val")
    first = numbers(validation)
    validation.batch_sampler.sampler.set_epoch(1)
    assert numbers(validation) == first


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_goes_on_where_its_state_was_taken(workers: int):
    data = RecallData(batch_size=4, size=22, num_workers=workers)
    loader = data.loader("train")
    loader.batch_sampler.sampler.set_epoch(3)
    whole = numbers(loader)
    passing = iter(loader)
    for _ in range(2):
        next(passing)
    state = loader.state_dict()
    again = data.loader("train")
    again.load_state_dict(state)
    assert numbers(again) == whole[2:]
    again.batch_sampler.sampler.set_epoch(4)
    assert len(numbers(again)) == len(again) == 6  # the next epoch is whole
    loader.load_state_dict({"epoch": 3, "taken": 6})  # the epoch was over
    assert numbers(loader) == whole


def test_an_empty_split_is_an_error():
    with pytest.raises(ValueError, match="RecallData has no items in its train split"):
        RecallData(size=0).loader("train")


def test_learning_happens_once_and_travels():
    data = RecallData()
    state = data.state_dict()
    assert data.fitted is data.fitted
    assert data.learnings == 1
    other = RecallData()
    other.load_state_dict(state)
    assert other.fitted == data.fitted
    assert other.learnings == 0


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        RecallData(batch_size=0)
    with pytest.raises(ValueError, match="num_workers must not be negative"):
        RecallData(num_workers=-1)


@pytest.mark.parametrize("split", ["train", "val"])
def test_batches_follow_from_seed_epoch_and_number_alone(split: str):
    made = {}
    for seed, epoch, workers in itertools.product((0, 1), (0, 1), (0, 2)):
        loader = RecallData(batch_size=4, size=16, noise=0.5, seed=seed, num_workers=workers).loader(split)
        loader.batch_sampler.sampler.set_epoch(epoch)
        made[seed, epoch, workers] = [batch[2].tolist() for batch in loader]
        assert [batch[2].tolist() for batch in loader] == made[seed, epoch, workers]
    for seed, epoch in itertools.product((0, 1), (0, 1)):
        assert made[seed, epoch, 0] == made[seed, epoch, 2]
    assert len({str(batches) for batches in made.values()}) == 4


def test_processes_draw_different_numbers():
    loaders = [Loader(Drawing(), list, lambda epoch: [[0], [1]], world=2, rank=rank) for rank in range(2)]
    assert len({str(list(loader)) for loader in loaders}) == 2


class Drawing:
    def __getitem__(self, index: int) -> float:
        return float(torch.rand(()))


def test_making_batches_leaves_the_generators_alone():
    def drawn() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]

    loader = RecallData(batch_size=4, size=16, noise=0.5).loader("train")
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    expected = [drawn(), drawn()]
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    found = [drawn()]
    assert len(list(loader)) == 4
    found.append(drawn())
    assert found == expected


def test_states_of_generators_are_set_as_they_were_read():
    cpu = torch.device("cpu")
    states = random_states(cpu)
    first = [random.gauss(0, 1), float(np.random.randn()), float(torch.randn(()))]
    set_random_states(states, cpu)
    assert [random.gauss(0, 1), float(np.random.randn()), float(torch.randn(()))] == first
