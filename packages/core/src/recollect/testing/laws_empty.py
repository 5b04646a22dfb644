"""Law 11: what is empty contributes exactly zero, and what is not finite is never stored."""

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from recollect.state import State
from recollect.testing.compare import assert_close, assert_equal, assert_same_state, gradients
from recollect.testing.trial import Steps, Trial, leaves

LARGE = 1e30
"""Size of keys whose dot products overflow float32."""


def check_empty_slots(trial: Trial) -> None:
    """Law 11: reads do not depend on the bits of empty slots; rows that are not finite are never stored.

    On CPU such a row raises and is named; elsewhere it is left out and counted.
    """
    if 0 in trial.batch:  # nothing is stored
        return
    _check_spoiled_slots(trial)
    _check_rows_are_refused(trial)
    _check_rows_are_left_out(trial)
    _check_large_keys(trial)


def _check_spoiled_slots(trial: Trial) -> None:
    if trial.slots is None:
        return
    trial = trial.double()
    storage, steps = trial.slots, trial.sequence()
    assert storage is not None
    state = storage.erase_slots(trial.written_state(), torch.zeros((*trial.batch, 1), dtype=torch.int64))
    spoiled = _spoil(state, storage.entries(state).filled <= 0)
    results = []
    for given in (state, spoiled):
        sequence = steps.requiring_grad()
        output, after = storage.scan(given, *sequence)
        read = storage.read(given, sequence.query)
        erased = storage.entries(storage.erase(given, steps.key, steps.erase_strength))
        found = [
            output,
            read.value,
            storage.reader(given)(steps.query).value,
            *storage.entries(given),
            *erased,
        ]
        results.append([*found, *gradients(trial, output + read.value, after, sequence).values()])
    for ours, theirs in zip(*results, strict=True):
        assert_close(ours, theirs, "a result with NaN in the empty slots")


def _spoil(state: State, empty: Tensor) -> Any:
    """Put NaN into keys and values of empty slots, wherever the state has tensors of such names."""
    changes: dict[str, Any] = {}
    for name, item in zip(state._fields, state, strict=True):  # type: ignore[attr-defined]
        if not isinstance(item, Tensor):
            changes[name] = _spoil(item, empty)
        elif name in ("keys", "values") and item.is_floating_point():
            changes[name] = item.masked_fill(empty.unsqueeze(-1), torch.nan)
        else:
            changes[name] = item
    return type(state)(**changes)


def _check_rows_are_refused(trial: Trial) -> None:
    storage, steps, state = trial.storage, trial.sequence(3), trial.written_state()
    first = ", ".join(["0"] * len(trial.batch) + ["1"])
    for name, bad in _with_bad_row(trial, steps).items():
        calls: list[Callable[[], Any]] = [
            partial(storage.write, state, bad.key, bad.value),
            partial(storage.scan, state, *bad),
        ]
        if name == "key":
            calls.append(partial(storage.erase, state, bad.key))
        for call in calls:
            try:
                call()
            except ValueError as error:
                message = str(error)
            else:
                raise AssertionError(f"a {name} with a NaN or an infinity was taken")
            assert f"{name}[{first}]" in message, f"the error does not name the row: {message}"


def _check_rows_are_left_out(trial: Trial) -> None:
    storage, steps, state = trial.storage, trial.sequence(3), trial.written_state()
    good = torch.ones_like(steps.write_strength, dtype=torch.bool)
    good[..., 1] = False
    with patch("recollect.validation.can_inspect", lambda tensor: False):
        for name, bad in _with_bad_row(trial, steps).items():
            written = storage.write(state, bad.key, bad.value)
            expected = storage.write(state, steps.key, steps.value, mask=good)
            assert_same_state(trial, written, expected, f"a write without the row of the bad {name}")
            count = storage.inspect(written)["rejected"] - storage.inspect(state)["rejected"]
            assert_equal(count, torch.ones_like(count), "the number of rejected rows")
            output, after = storage.scan(state, *bad)
            alone, _ = storage.scan(state, *steps._replace(mask=good))
            assert_close(output[..., ::2, :], alone[..., ::2, :], f"a scan without the row of the bad {name}")
            assert all(leaf.isfinite().all() for leaf in leaves(after)), "a bad row reached the state"
        if not storage.integer_keys:
            erased = storage.erase(state, _with_bad_row(trial, steps)["key"].key)
            expected = storage.erase(state, steps.key, mask=good)
            assert_same_state(trial, erased, expected, "an erase without the bad key")


def _with_bad_row(trial: Trial, steps: Steps) -> dict[str, Steps]:
    """The steps with a NaN or an infinity in the second row of key or value, by the name of that argument."""
    spoiled = {}
    for name, bits in (("key", torch.nan), ("value", torch.inf)):
        tensor: Tensor = getattr(steps, name)
        if tensor.is_floating_point():
            bad = tensor.clone()
            bad[..., 1, 0] = bits
            spoiled[name] = steps._replace(**{name: bad})
    return spoiled


def _check_large_keys(trial: Trial) -> None:
    storage = trial.storage
    if storage.integer_keys:
        return
    keys, values = trial.distinct(2) * LARGE / 10, trial.values(2)  # distinct keys have length 10
    count = 1 if trial.slots is not None and trial.slots.capacity == 1 else 2
    keys, values = keys[..., :count, :], values[..., :count, :]
    state = storage.write(trial.empty(), keys, values)
    assert_close(storage.read(state, keys).value, values, "a read with keys of size 1e30", trial.tolerance)
