"""Arguments of the ordered storages, and how they compare with the other storages."""

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from recollect import Storage, TemporalLinkStorage, VectorStorage
from recollect.storages import Read

IDS = 6


def key(*ids: int) -> Tensor:
    return torch.eye(IDS)[list(ids)]


def test_arguments_that_do_not_fit_are_refused():
    storage = TemporalLinkStorage(IDS, 1, slots=5)
    state = storage.write(storage.initial_state(), key(0, 1), key(0, 1)[:, :1])
    with pytest.raises(ValueError, match="direction"):
        storage.follow(state, storage.read(state, key(0)), "sideways")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no weights"):
        storage.follow(state, Read(torch.zeros(1, 1), None, None))
    with pytest.raises(ValueError, match="after must hold integers of shape"):
        storage.write(state, key(2), key(2)[:, :1], after=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="after must hold integers of shape"):
        storage.write(state, key(2), key(2)[:, :1], after=torch.tensor([0.0]))
    with pytest.raises(ValueError, match=r"slots must be in \[0, 5\)"):
        storage.write(state, key(2), key(2)[:, :1], after=torch.tensor([5]))
    for arguments, message in (
        ({"slots": 0}, "slots must be at least 1"),
        ({"slots": 4, "kept": 0}, "kept must be at least 1"),
        ({"slots": 4, "similarity": "l2"}, "similarity"),
    ):
        with pytest.raises(ValueError, match=message):
            TemporalLinkStorage(IDS, 1, **arguments)


def test_configs_name_it_by_class_path():
    parser = ArgumentParser()
    parser.add_subclass_arguments(Storage, "storage")
    sizes = {"key_size": 4, "value_size": 2, "slots": 3}
    named = {"class_path": "recollect.TemporalLinkStorage", "init_args": {**sizes, "kept": 2}}
    storage = parser.instantiate(parser.parse_object({"storage": named})).storage
    assert isinstance(storage, TemporalLinkStorage)
    assert storage.kept == 2


def test_content_is_read_as_a_vector_storage_reads_it():
    torch.manual_seed(0)
    one, other = TemporalLinkStorage(4, 2, 5), VectorStorage(4, 2, 5, policy="lru")
    keys, values, strength = torch.randn(7, 4), torch.randn(7, 2), torch.rand(7)
    states = [s.write(s.initial_state(), keys, values, strength) for s in (one, other)]
    queries = torch.randn(3, 4)
    found, expected = one.read(states[0], queries).value, other.read(states[1], queries).value
    torch.testing.assert_close(found, expected)
