"""Law 13: a shared store reads as its copies would."""

import torch
from torch import Tensor

from recollect.state import map_state
from recollect.testing.compare import assert_close, assert_equal, assert_same_state
from recollect.testing.trial import Trial

READERS = (2, 3)
"""Batch axes of the readers that share a store."""


def check_shared_store(trial: Trial) -> None:
    """Law 13: readers of one store read what each would from a copy; what they write is written in order."""
    storage, state, steps = trial.storage, trial.written_state(), trial.sequence(4)
    readers = READERS[: max(1, 2 - len(trial.batch))]
    offsets = torch.arange(torch.Size(readers).numel()).reshape(readers)

    def each(rows: Tensor, extra: int) -> Tensor:
        """Rows for each reader, shifted along the rows, so that readers differ."""
        shifted = [rows.roll(int(shift), rows.dim() - extra) for shift in offsets.flatten()]
        return torch.stack(shifted).reshape(*readers, *rows.shape)

    query, key, value = (each(rows, 2) for rows in steps[:3])
    strength, mask = each(steps.write_strength, 1), each(trial.pattern(4).expand(*trial.batch, 4), 1)
    copies = map_state(lambda leaf: leaf.expand(*readers, *leaf.shape).contiguous(), state)
    for read in (storage.read, lambda given, *rows: storage.reader(given)(*rows)):
        found, expected = read(state, query, mask), read(copies, query, mask)
        assert_close(found.value, expected.value, "a read of a shared store and of copies")
        if found.weights is not None and expected.weights is not None:
            assert_close(found.weights, expected.weights, "weights in a shared store and in copies")
    flat = tuple(_in_turn(rows, len(readers), len(trial.batch)) for rows in (key, value, strength, mask))
    written = storage.write(state, key, value, strength, mask)
    one_by_one = storage.write(state, *flat)
    assert_same_state(trial, written, one_by_one, "what readers write in turn")
    erased = storage.erase(one_by_one, key, strength, mask)
    expected_state = storage.erase(one_by_one, flat[0], flat[2], flat[3])
    assert_same_state(trial, erased, expected_state, "what readers erase in turn")
    if trial.slots is not None:
        _, slots = trial.slots.place(state, key, value, strength, mask)
        _, expected_slots = trial.slots.place(state, *flat)
        assert_equal(
            _in_turn(slots, len(readers), len(trial.batch)), expected_slots, "slots of what readers write"
        )
    try:
        storage.scan(state, query, key, value)
    except ValueError:
        return
    raise AssertionError("a scan over a shared store must raise: its steps have no common order")


def _in_turn(rows: Tensor, readers: int, batch: int) -> Tensor:
    """The rows ``(*readers, *batch, n, …)`` of the first reader, then those of the second, and so on."""
    axis = readers + batch
    order = [*range(readers, axis), *range(readers), *range(axis, rows.dim())]
    return rows.permute(order).flatten(batch, axis)
