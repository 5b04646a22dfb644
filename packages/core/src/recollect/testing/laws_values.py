"""Laws 6 and 7: batch items are independent, and a state is a value."""

import copy
import io
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import torch

from recollect.state import map_state
from recollect.testing.compare import (
    assert_close,
    assert_equal,
    assert_same_state,
    assert_unchanged,
    step_by_step,
)
from recollect.testing.trial import Trial, leaves


def check_batch_items(trial: Trial) -> None:
    """Law 6: batch items are independent; ``select`` and ``reset`` affect the given items only."""
    if not trial.batch or trial.batch[0] == 0:
        return
    trial = trial.double()
    storage, items = trial.storage, trial.batch[0]
    steps = trial.sequence().requiring_grad()
    output, state = storage.scan(trial.written_state(), *steps)
    for item in range(items):
        index = torch.tensor([item])
        alone, _ = storage.scan(storage.select(trial.written_state(), index), *steps.each(itemgetter(index)))
        assert_close(alone, output[index], "an item alone and in a batch")
    wanted = list(steps.floats().values())
    found = torch.autograd.grad(
        output[0].sum(), wanted, allow_unused=True, materialize_grads=True, retain_graph=True
    )
    for gradient in found:
        assert_equal(gradient[1:], torch.zeros_like(gradient[1:]), "gradient in another batch item")
    _check_select_and_reset(trial, map_state(torch.Tensor.detach, state))


def _check_select_and_reset(trial: Trial, state: Any) -> None:
    storage, items = trial.storage, trial.batch[0]
    query = trial.sequence(3, salt=7).query
    read = storage.read(state, query).value
    index = torch.arange(items).flip(0).repeat(2)
    picked = storage.select(state, index)
    for ours, theirs in zip(leaves(picked), leaves(state), strict=True):
        assert_equal(ours, theirs[index], "selected items")
    assert_close(storage.read(picked, query[index]).value, read[index], "reads of selected items")
    chosen = index[:items] % 2 == 0
    assert_equal(leaves(storage.select(state, chosen))[0], leaves(state)[0][chosen], "items selected by bool")
    where = torch.rand(trial.batch, generator=trial.generator(8)) < 0.5
    reset = storage.reset(state, where)
    for now, before, new in zip(leaves(reset), leaves(state), leaves(trial.empty()), strict=True):
        assert_equal(now[where], new[where], "an item that was reset")
        assert_equal(now[~where], before[~where], "an item that was not reset")


def check_states_are_values(trial: Trial) -> None:
    """Law 7: no method changes the state it is given or keeps a state, and a state can be saved."""
    storage, state = trial.storage, trial.written_state()
    for leaf in leaves(state):
        assert leaf.shape[: len(trial.batch)] == trial.batch, (
            "the tensors of a state start with the batch axes"
        )
    assert type(state) is type(trial.empty()), "a method returns the same type of state"
    before, module = map_state(torch.clone, state), copy.deepcopy(storage.state_dict())
    for name, method in _methods(trial).items():
        first, second = method(state), method(state)
        assert_unchanged(state, before, name)
        for one, other in zip(leaves(first), leaves(second), strict=True):
            assert_equal(one, other, f"{name} twice with the same arguments")
    for name, tensor in storage.state_dict().items():
        assert_equal(tensor, module[name], f"the storage's {name} after its methods")
    _check_inplace(trial)
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert type(loaded) is type(state), "a saved state loads with its type"
    query = trial.sequence(3, salt=7).query
    assert_equal(
        storage.read(loaded, query).value, storage.read(state, query).value, "read of a loaded state"
    )


def check_device(trial: Trial, device: torch.device | str) -> None:
    """Law 7, on another device: a state that is moved there reads the same."""
    steps = trial.sequence()
    there = Trial(**{**trial.__dict__, "storage": copy.deepcopy(trial.storage).to(device)})
    assert leaves(there.empty())[0].device.type == torch.device(device).type, (
        "a state is on the device of its storage"
    )
    output, _ = step_by_step(trial, trial.written_state(), steps)
    moved = map_state(lambda tensor: tensor.to(device), trial.written_state())
    arguments = steps.each(lambda tensor: tensor.to(device))
    output_there, _ = there.storage.scan(moved, *arguments)
    assert_close(output_there.cpu(), output, f"reads on {device}", 1e-3)


def check_default_device(trial: Trial) -> None:
    """Law 7, on any machine: results are on the device of the arguments, whatever the default device."""
    state, methods = trial.written_state(), _methods(trial)
    for name, method in methods.items():
        expected = leaves(method(state))
        with torch.device("meta"):
            found = leaves(method(state))
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other, f"{name} with another default device")


def _methods(trial: Trial) -> dict[str, Callable[[Any], Any]]:
    """Each method as a function of the state alone."""
    storage, steps = trial.storage, trial.sequence()
    everywhere = torch.ones(trial.batch, dtype=torch.bool)
    methods: dict[str, Callable[[Any], Any]] = {
        "read": lambda state: (storage.read(state, steps.query).value,),
        "write": lambda state: storage.write(state, steps.key, steps.value, steps.write_strength),
        "erase": lambda state: storage.erase(state, steps.key, steps.erase_strength),
        "scan": lambda state: storage.scan(state, *steps),
        "inspect": lambda state: tuple(storage.inspect(state).values()),
        "reset": lambda state: storage.reset(state, everywhere),
    }
    if (kept := trial.slots) is not None:
        slots, value = torch.zeros((*trial.batch, 1), dtype=torch.int64), steps.value[..., :1, :]
        weights = torch.full((*trial.batch, 1, kept.capacity), 1 / (1 + kept.capacity), dtype=value.dtype)
        methods |= {
            "entries": lambda state: kept.entries(state),
            "place": lambda state: kept.place(state, steps.key, steps.value)[0],
            "update": lambda state: kept.update(state, slots, value),
            "erase_slots": lambda state: kept.erase_slots(state, slots),
            "write_at": lambda state: kept.write_at(state, weights, value),
        }
    if trial.batch:
        items = torch.arange(trial.batch[0])
        methods["select"] = lambda state: storage.select(state, items)
    return methods


def _check_inplace(trial: Trial) -> None:
    """Check that ``inplace`` raises while gradients are recorded, and otherwise changes no result."""
    storage, steps = trial.storage, trial.sequence()
    calls: dict[str, tuple[Any, ...]] = {
        "write": (steps.key, steps.value, steps.write_strength),
        "erase": (steps.key, steps.erase_strength),
    }
    if trial.slots is not None:
        slots = torch.tensor([0, min(1, trial.slots.capacity - 1), 0]).expand(*trial.batch, 3)
        calls |= {"update": (slots, trial.values(3)), "erase_slots": (slots,)}
    for name, arguments in calls.items():
        method = getattr(storage, name)
        try:
            with torch.enable_grad():
                method(trial.written_state(), *arguments, inplace=True)
        except RuntimeError:
            pass
        else:
            raise AssertionError(f"{name}(inplace=True) must raise RuntimeError while gradients are recorded")
        with torch.no_grad():
            expected = method(trial.written_state(), *arguments)
            reused = map_state(torch.clone, trial.written_state())
            found = method(reused, *arguments, inplace=True)
            assert_same_state(trial, found, expected, f"{name} in place")
