"""The laws of storages whose rows live outside the process: 1, 2, 5, 6, 8, 11, 12 and 13.

Their states are handles, so a write is seen through every state of the same space, and law 7 does not hold.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from types import MappingProxyType
from typing import TypeAlias
from unittest.mock import patch

import torch
from torch import Tensor

from recollect.storages.external import ExternalStorage
from recollect.storages.external_state import ExternalState
from recollect.testing.compare import assert_close, assert_equal
from recollect.testing.engine_trial import scan
from recollect.testing.trial import Trial

StorageMaker: TypeAlias = Callable[..., ExternalStorage]
"""Makes a storage with an empty store; it takes the argument ``capacity`` of ``ExternalStorage``."""

LARGE = 1e12
"""Size of keys whose squares still fit into single precision, as engines compute them."""

CALLS = ("add", "search", "erase", "scan", "count", "origins", "sources")


def check_external_storage(make: StorageMaker) -> None:
    """Check all laws of a storage whose rows live outside the process.

    Args:
        make: Makes a storage with keys of width 4 or more and an empty store, given ``capacity``
            or nothing.

    Raises:
        AssertionError: If a law is violated; the message names it.

    Example:
        >>> from recollect.testing import ListEngine
        >>> check_external_storage(lambda **options: ExternalStorage(ListEngine(6, 3, "cosine"), **options))
    """
    for name, law in EXTERNAL_LAWS.items():
        try:
            law(make)
        except AssertionError as error:
            raise AssertionError(f"the storage violates the law {name!r}: {error}") from error


def check_read_after_write(make: StorageMaker) -> None:
    """Law 1: after ``write(k, v)``, ``read(k)`` gives v, with gradients to the query; nothing reads zero."""
    for batch in ((), (2,), (2, 2)):
        trial = Trial(make(), batch=batch)
        storage, state = trial.storage, trial.empty()
        keys, values = trial.distinct(4), trial.values(4)
        assert_equal(storage.read(state, keys).value, torch.zeros_like(values), "an empty store reads zero")
        off = torch.zeros_like(values[..., 0])
        state = storage.write(state, keys, values, strength=off)
        assert_equal(storage.read(state, keys).value, torch.zeros_like(values), "a write at strength 0")
        state = storage.write(state, keys[..., :1, :], values[..., :1, :])
        assert_close(storage.read(state, keys[..., :1, :]).value, values[..., :1, :], "a single row")
        state = storage.write(state, keys[..., 1:, :], values[..., 1:, :])
        query = keys.clone().requires_grad_()
        read = storage.read(state, query)
        assert_close(read.value.detach(), values, "a read among dissimilar keys", trial.tolerance)
        assert read.weights is not None, "a read has weights and rows"
        assert read.slots is not None, "a read has weights and rows"
        assert_close(read.weights.detach().sum(-1), torch.ones_like(off), "weights sum to 1")
        assert_equal(storage.reader(state)(keys).value, read.value.detach(), "a read by a reader")
        noise = torch.randn(keys.shape, generator=trial.generator(5))
        (gradient,) = torch.autograd.grad(storage.read(state, query + noise).value.square().sum(), query)
        assert gradient.isfinite().all(), "a gradient that is not finite"
        assert gradient.any(), "no gradient reaches the query"


def check_erase(make: StorageMaker) -> None:
    """Law 2: after an erase, by key or by number, v is no longer read, and other keys read as before."""
    for by_number in (False, True):
        storage = make()
        trial = Trial(storage)
        keys, values = trial.distinct(4), trial.values(4).index_fill(-2, torch.tensor([1]), 1e4)
        state, rows = storage.place(trial.empty(), keys, values)
        before = storage.read(state, keys).value
        state = storage.erase(state, keys, strength=torch.zeros_like(values[..., 0]))
        assert_equal(storage.read(state, keys).value, before, "an erase at strength 0")
        gone = slice(1, 2)
        if by_number:
            state = storage.erase_slots(state, rows[..., gone])
        else:
            state = storage.erase(state, keys[..., gone, :])
        found = storage.read(state, keys)
        assert not (found.value > 2).any(), "an erased value is still read"  # the others are below 1.5
        assert found.slots is not None, "a read has rows"
        assert not torch.isin(found.slots, rows[..., gone]).any(), "an erased row is still found"
        rest = [0, 2, 3]
        assert_close(found.value[..., rest, :], values[..., rest, :], "other keys", trial.tolerance)
        state = storage.erase(state, keys)
        assert_equal(storage.read(state, keys).value, torch.zeros_like(values), "an emptied store")


def check_masks(make: StorageMaker) -> None:
    """Law 5: a masked row changes nothing, even if it is NaN."""
    storage = make()
    trial = Trial(storage)
    mask = torch.tensor([True, False, True, False]).expand(*trial.batch, 4)
    keys, values = trial.distinct(4), trial.values(4)
    bad_keys = torch.where(mask.unsqueeze(-1), keys, torch.nan)
    bad_values = torch.where(mask.unsqueeze(-1), values, torch.inf)
    state, rows = storage.place(trial.empty(), bad_keys, bad_values, mask=mask)
    assert_equal(rows >= 0, mask, "masked rows have no number")
    assert_equal(storage.inspect(state)["count"], mask.sum(-1), "masked rows are not stored")
    read = storage.read(state, bad_keys, mask).value
    assert_close(read, values * mask.unsqueeze(-1), "a masked query reads zero", trial.tolerance)
    same = storage.erase(state, bad_keys, mask=torch.zeros_like(mask))
    same = storage.erase_slots(same, rows, torch.zeros_like(mask))
    assert_equal(storage.inspect(same)["count"], mask.sum(-1), "a masked key erases nothing")
    state = storage.erase(same, keys, mask=mask.roll(1, -1))
    assert_equal(storage.inspect(state)["count"], mask.sum(-1), "masked keys erase nothing")


def check_batch_items(make: StorageMaker) -> None:
    """Law 6: batch items never see each other; ``reset`` and ``select`` affect the given ones only."""
    storage = make()
    trial = Trial(storage, batch=(3,))
    keys, values = trial.distinct(3), trial.values(3)
    keys = keys[:1].expand_as(keys)  # the same keys for all, so that a leak would show
    state = storage.write(trial.empty(), keys, values)
    assert_close(storage.read(state, keys).value, values, "an item's own rows", trial.tolerance)
    picked = storage.select(state, torch.tensor([2, 0]))
    assert_close(storage.read(picked, keys[:2]).value, values[[2, 0]], "selected items", trial.tolerance)
    erased = storage.erase(picked, keys[:2, :1])
    assert_equal(storage.inspect(state)["count"], torch.tensor([2, 3, 2]), "an erase in selected items")
    where = torch.tensor([True, False, False])
    state = storage.reset(erased._replace(**state._asdict()), where)
    assert_equal(storage.inspect(state)["count"], torch.tensor([0, 3, 2]), "a reset of one item")
    assert_close(storage.read(state, keys).value[1], values[1], "the other items", trial.tolerance)
    try:
        storage.select(state, torch.tensor([1, 1]))
    except ValueError:
        return
    raise AssertionError("an item that is selected twice must raise: its rows are not copied")


def check_capacity(make: StorageMaker) -> None:
    """Law 8: past its capacity a space loses its oldest rows, and no other space does."""
    storage = make(capacity=5)
    trial = Trial(storage)
    keys, values = trial.distinct(13), trial.values(13)
    at_once, one_by_one, other = (storage.initial_state(*trial.batch) for _ in range(3))
    other = storage.write(other, keys[..., :4, :], values[..., :4, :])
    at_once = storage.write(at_once, keys, values)
    for n in range(13):
        one_by_one = storage.write(one_by_one, keys[..., n : n + 1, :], values[..., n : n + 1, :])
    for state in (at_once, one_by_one):
        for item, (found, value) in enumerate(stored(storage, state)):
            assert_equal(found, keys[item, -5:].float(), "keys of a full store: the newest")
            assert_equal(value, values[item, -5:], "values of a full store: the newest")
    assert_equal(storage.inspect(other)["count"], torch.tensor([4, 4]), "a space that is not full")


def check_empty_rows(make: StorageMaker) -> None:
    """Law 11: what is not stored contributes zero; what is not finite is never stored, and is reported."""
    storage = make()
    trial = Trial(storage)
    keys, values, state = trial.distinct(3), trial.values(3), trial.empty()
    bad = keys.index_fill(-2, torch.tensor([1]), torch.nan)
    for rows in ((bad, values), (keys, values / 0)):
        try:
            storage.write(state, *rows)
        except ValueError:
            pass
        else:
            raise AssertionError("a row with a NaN or an infinity was taken")
    assert_equal(storage.inspect(state)["count"], torch.tensor([0, 0]), "a part of a refused write")
    with patch("recollect.validation.can_inspect", lambda tensor: False):  # as on another device
        state, numbers = storage.place(state, bad, values)
    assert_equal(storage.inspect(state)["rejected"], torch.tensor([1, 1]), "rejected rows are counted")
    assert_equal(
        numbers >= 0, torch.tensor([[True, False, True]]).expand(2, 3), "rejected rows have no number"
    )
    read = storage.read(state, keys[..., ::2, :])
    assert_close(read.value, values[..., ::2, :], "the other rows", trial.tolerance)
    assert read.weights is not None
    assert read.slots is not None
    assert not read.weights[read.slots < 0].any(), "what is not there has weight zero"
    huge = storage.write(trial.empty(), keys * LARGE, values)
    assert_close(storage.read(huge, keys * LARGE).value, values, "a read with large keys", trial.tolerance)
    for strength in (0.5, torch.nan):
        try:
            storage.write(state, keys, values, strength=torch.full(values.shape[:-1], strength))
        except ValueError:
            continue
        raise AssertionError(f"strength {strength} must raise: a row is there or not")


def check_default_device(make: StorageMaker) -> None:
    """Law 7, on any machine: results are on the device of the arguments, whatever the default device."""
    storage = make(capacity=2)
    trial = Trial(storage)
    keys, values, state = trial.distinct(3), trial.values(3), trial.empty()
    with torch.device("meta"):
        state, rows = storage.place(state, keys, values, sources=list("abcdef"))
        read, near = storage.read(state, keys[:, 2:]), storage.neighbors(state, keys, 2)
        state = storage.erase(storage.erase_slots(state, rows[:, 1:2]), keys[:1, 2:].expand(2, -1, -1))
    assert_close(read.value, values[:, 2:], "a read with another default device", trial.tolerance)
    assert_equal(near.slots[:, 2, 0], rows[:, 2], "neighbours with another default device")
    assert_equal(storage.inspect(state)["count"], torch.tensor([0, 1]), "erases with another default device")


def check_bulk_writes(make: StorageMaker) -> None:
    """Law 12: W rows give what W single rows give, in a number of engine calls that does not grow with W."""
    storage = make(capacity=20)
    trial = Trial(storage)
    keys, values = trial.distinct(8), trial.values(8)
    keys[..., 5, :] = keys[..., 2, :]
    mask = trial.pattern(8).expand(*trial.batch, 8)
    at_once, one_by_one = trial.empty(), trial.empty()
    at_once, slots = storage.place(at_once, keys, values, mask=mask)
    for n in range(8):
        now = slice(n, n + 1)
        one_by_one = storage.write(one_by_one, keys[..., now, :], values[..., now, :], mask=mask[..., now])
    for ours, theirs in zip(stored(storage, at_once), stored(storage, one_by_one), strict=True):
        assert_equal(ours[0], theirs[0], "keys of writes at once and one by one")
        assert_equal(ours[1], theirs[1], "values of writes at once and one by one")
    assert (slots.masked_select(mask).reshape(2, -1).diff(dim=-1) > 0).all(), "numbers in order"
    verbs: dict[str, Callable[[int], object]] = {
        "write": lambda n: storage.write(trial.empty(), keys[..., :n, :], values[..., :n, :]),
        "read": lambda n: storage.read(at_once, keys[..., :n, :]),
        "erase": lambda n: storage.erase(at_once, keys[..., :n, :]),
        "erase_slots": lambda n: storage.erase_slots(one_by_one, slots[..., :n]),
    }
    for name, verb in verbs.items():
        few, many = (_engine_calls(storage, partial(verb, count)) for count in (2, 8))
        assert many <= few, f"{name}: {few} engine calls for 2 rows, {many} for 8"


def check_shared_store(make: StorageMaker) -> None:
    """Law 13: all readers of one store read the same; what they write is written in order."""
    storage = make()
    trial = Trial(storage, batch=(2, 3))
    shared = storage.initial_state()
    keys, values = trial.distinct(2), trial.values(2)
    keys = torch.cat([keys, keys + torch.randn(keys.shape, generator=trial.generator(9))], -2)
    values = torch.cat([values, values + 1], -2)
    state, rows = storage.place(shared, keys, values)
    assert rows.shape == (2, 3, 4), "order"
    assert rows.flatten().tolist() == sorted(rows.flatten().tolist()), "order"
    ((found, value),) = stored(storage, state)
    assert_equal(found, keys.flatten(0, -2).float(), "keys of all readers, in order")
    assert_equal(value, values.flatten(0, -2), "values of all readers, in order")
    query = trial.sequence(3).query
    read = storage.read(state, query)
    for one in range(2):
        for other in range(3):
            alone = storage.read(state, query[one, other])
            assert_close(read.value[one, other], alone.value, "a reader alone and among others")
    near = storage.neighbors(state, query, 5)
    for ours, theirs in zip(near, storage.neighbors(state, query[1], 5), strict=True):
        assert_close(ours[1], theirs, "neighbours of a reader alone and among others")
    state = storage.erase_slots(state, rows[:1])
    assert storage.inspect(state)["count"] == 12, "what readers erase"


def stored(storage: ExternalStorage, state: ExternalState) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of each batch item, oldest first."""
    return [scan(storage.engine, space=space)[1:] for space in state.space.flatten().tolist()]


def _engine_calls(storage: ExternalStorage, call: Callable[[], object]) -> int:
    """Number of calls of the engine's methods."""
    engine, count = storage.engine, 0

    def counted(name: str) -> Callable[..., object]:
        method = getattr(engine, name)

        def run(*arguments: object, **named: object) -> object:
            nonlocal count
            count += 1
            return method(*arguments, **named)

        return run

    with ExitStack() as patches:
        for name in CALLS:
            patches.enter_context(patch.object(engine, name, counted(name)))
        call()
    return count


EXTERNAL_LAWS: Mapping[str, Callable[[StorageMaker], None]] = MappingProxyType(
    {
        "read after write": check_read_after_write,
        "erase": check_erase,
        "masks": check_masks,
        "batch items": check_batch_items,
        "capacity": check_capacity,
        "empty rows": check_empty_rows,
        "default device": check_default_device,
        "bulk writes": check_bulk_writes,
        "shared store": check_shared_store,
    }
)
"""The laws by name; each raises ``AssertionError`` if violated."""
