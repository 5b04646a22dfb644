"""The states that the benchmark makes at once are those that writing makes entry by entry."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch

from recollect import HashStorage, LinkedStorage, TemporalLinkStorage, VectorStorage


@pytest.fixture(scope="module")
def filled():
    path = Path(__file__).parents[2] / "benchmarks" / "filled_states.py"
    spec = spec_from_file_location("filled_states", path)
    module = module_from_spec(spec)
    sys.modules["filled_states"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["filled_states"]


@pytest.mark.parametrize(
    ("name", "storage"),
    [
        ("filled", VectorStorage(8, 2, 90)),
        ("filled", HashStorage(8, 2, buckets=8, capacity=8, tables=2, entries=90)),
        ("filled", LinkedStorage(8, 2, 90, buckets=8)),
        ("filled_temporal", TemporalLinkStorage(8, 2, 90)),
        ("filled_temporal", TemporalLinkStorage(8, 2, 90, kept=8)),
    ],
    ids=["vector", "hash", "linked", "temporal", "temporal-sparse"],
)
def test_a_state_filled_at_once_is_one_that_was_written(filled, name: str, storage):
    keys, values = torch.randn(90, 8), torch.randn(90, 2)
    with torch.no_grad():
        at_once, written = getattr(filled, name)(storage, keys, values), storage.initial_state()
        for start in range(0, 90, 30):
            piece = slice(start, start + 30)
            written = storage.write(written, keys[piece], values[piece], inplace=True)
    # Then more of everything: what is erased, evicted and found afterwards is the same, too.
    more = torch.randn(20, 8)
    for _ in range(2):
        ours, theirs = storage.read(at_once, keys), storage.read(written, keys)
        torch.testing.assert_close(ours.value, theirs.value)
        if hasattr(storage, "follow"):
            ours, theirs = storage.follow(at_once, ours), storage.follow(written, theirs)
            torch.testing.assert_close(ours.value, theirs.value)
        at_once, written = (storage.erase(state, keys[40:45]) for state in (at_once, written))
        at_once, written = (storage.write(state, more, values[:20]) for state in (at_once, written))
