"""Laws 1, 2 and 8: read after write, erase, and eviction."""

import torch

from recollect.testing.compare import assert_close, assert_same_state
from recollect.testing.trial import Trial, leaves


def check_read_after_write(trial: Trial) -> None:
    """Law 1: on an empty store, after ``write(k, v)`` at strength 1, ``read(k)`` gives v."""
    storage, empty = trial.storage, trial.empty()
    key, value = trial.distinct(1), trial.values(1)
    assert_close(storage.read(empty, key).value, torch.zeros_like(value), "an empty store reads zero")
    written = storage.write(empty, key, value)
    assert_close(storage.read(written, key).value, value, "read after write")
    nothing = storage.write(empty, key, value, strength=torch.zeros_like(value[..., 0]))
    assert_close(
        storage.read(nothing, key).value, torch.zeros_like(value), "a write at strength 0 is not read"
    )
    count = min(4, _capacity(trial))
    keys, values = trial.distinct(count, salt=3), trial.values(count)
    several = storage.write(empty, keys, values)
    found = storage.read(several, keys).value
    assert_close(found, values, "read among dissimilar keys", trial.tolerance)
    assert_close(storage.reader(several)(keys).value, found, "a read by a reader")
    alone = storage.read(several, keys, need_weights=False)
    assert_close(alone.value, found, "a read without weights")
    assert alone.weights is None, "a read without weights returned weights"


def check_erase(trial: Trial) -> None:
    """Law 2: after ``erase(k)``, v is no longer read, and dissimilar keys read as before."""
    storage = trial.storage
    count = min(4, _capacity(trial))
    keys, values = trial.distinct(count), trial.values(count)
    state = storage.write(trial.empty(), keys, values)
    for gone in range(count):
        rest = [n for n in range(count) if n != gone]
        one = slice(gone, gone + 1)
        others, their_values = keys[..., rest, :], values[..., rest, :]
        found = storage.read(storage.erase(state, keys[..., one, :]), others).value
        never = storage.write(trial.empty(), others, their_values)
        assert_close(
            found,
            storage.read(never, others).value,
            "other keys read as if it was never written",
            trial.tolerance / 10,
        )
        assert_close(found, storage.read(state, others).value, "other keys read as before", trial.tolerance)
        # A large value shows in every read that includes any of it.
        loud = values.index_fill(-2, torch.tensor([gone]), 1e4)
        erased = storage.erase(storage.write(trial.empty(), keys, loud), keys[..., one, :])
        read = storage.read(erased, keys).value
        assert not (read > 2).any(), f"an erased value is still read: {read}"  # values are below 1.5
    zero = torch.zeros_like(values[..., 0])
    untouched = storage.erase(state, keys, strength=zero)
    assert_same_state(trial, untouched, state, "an erase at strength 0 changes nothing")
    emptied = storage.erase(state, keys)
    assert_close(storage.read(emptied, keys).value, torch.zeros_like(values), "an emptied store reads zero")
    again = storage.write(emptied, keys, values)
    assert_close(
        storage.read(again, keys).value, storage.read(state, keys).value, "an emptied store takes new entries"
    )


def check_capacity(trial: Trial) -> None:
    """Law 8: a full store evicts; it neither grows nor fails, and the newest entry can be read."""
    storage, empty = trial.storage, trial.empty()
    count = 2 * _capacity(trial) + 3
    keys, values = trial.distinct(count), trial.values(count)
    at_once = storage.write(empty, keys, values)
    one_by_one = empty
    for n in range(count):
        one_by_one = storage.write(one_by_one, keys[..., n : n + 1, :], values[..., n : n + 1, :])
    newest, value = keys[..., -1:, :], values[..., -1:, :]
    for state in (at_once, one_by_one):
        shapes = [leaf.shape for leaf in leaves(state)]
        assert shapes == [leaf.shape for leaf in leaves(empty)], "a store grew past its capacity"
        assert_close(
            storage.read(state, newest).value, value, "the newest entry of a full store", trial.tolerance
        )
    assert_same_state(trial, at_once, one_by_one, "a full store, written at once and one by one")


def _capacity(trial: Trial) -> int:
    if trial.capacity is not None:
        return trial.capacity
    if trial.slots is None:
        raise ValueError("pass the number of entries that the storage holds: Trial(capacity=…)")
    return trial.slots.capacity
