"""Laws 6 and 7: batch items are strangers, and a state is a value."""

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
    assert_same_memory,
    assert_unchanged,
    step_by_step,
)
from recollect.testing.trial import Trial, leaves


def check_batch_items(trial: Trial) -> None:
    """Law 6: batch items never see each other; ``select`` and ``reset`` act on the named items only."""
    if not trial.batch or trial.batch[0] == 0:
        return
    trial = trial.wide()
    storage, items = trial.storage, trial.batch[0]
    steps = trial.sequence().requiring_grad()
    output, state = storage.scan(trial.used(), *steps)
    for item in range(items):
        index = torch.tensor([item])
        alone, _ = storage.scan(storage.select(trial.used(), index), *steps.each(itemgetter(index)))
        assert_close(alone, output[index], "an item alone and among others")
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
    assert_close(storage.read(picked, query[index]).value, read[index], "what selected items read")
    chosen = index[:items] % 2 == 0
    assert_equal(leaves(storage.select(state, chosen))[0], leaves(state)[0][chosen], "items selected by bool")
    where = torch.rand(trial.batch, generator=trial.generator(8)) < 0.5
    reset = storage.reset(state, where)
    for now, before, new in zip(leaves(reset), leaves(state), leaves(trial.empty()), strict=True):
        assert_equal(now[where], new[where], "an item that was reset")
        assert_equal(now[~where], before[~where], "an item that was not reset")


def check_states_are_values(trial: Trial) -> None:
    """Law 7: no verb changes the state it is given, none keeps one of its own, and a state can be saved."""
    storage, state = trial.storage, trial.used()
    for leaf in leaves(state):
        assert leaf.shape[: len(trial.batch)] == trial.batch, "a state's tensors begin with the batch axes"
    assert type(state) is type(trial.empty()), "a verb returns the same kind of state"
    before, module = map_state(torch.clone, state), copy.deepcopy(storage.state_dict())
    for name, verb in _verbs(trial).items():
        first, second = verb(state), verb(state)
        assert_unchanged(state, before, name)
        for one, other in zip(leaves(first), leaves(second), strict=True):
            assert_equal(one, other, f"{name} twice with the same arguments")
    for name, tensor in storage.state_dict().items():
        assert_equal(tensor, module[name], f"the storage's own {name} after its verbs")
    _check_inplace(trial)
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert type(loaded) is type(state), "a saved state loads as what it was"
    query = trial.sequence(3, salt=7).query
    assert_equal(
        storage.read(loaded, query).value, storage.read(state, query).value, "read of a loaded state"
    )


def check_device(trial: Trial, device: torch.device | str) -> None:
    """Law 7, on another device: a state that is moved there reads the same, and can be gone on with."""
    steps = trial.sequence()
    there = Trial(**{**trial.__dict__, "storage": copy.deepcopy(trial.storage).to(device)})
    assert leaves(there.empty())[0].device.type == torch.device(device).type, (
        "a state lives where its storage does"
    )
    output, _ = step_by_step(trial, trial.used(), steps)
    moved = map_state(lambda tensor: tensor.to(device), trial.used())
    arguments = steps.each(lambda tensor: tensor.to(device))
    output_there, _ = there.storage.scan(moved, *arguments)
    assert_close(output_there.cpu(), output, f"reads on {device}", 1e-3)


def check_default_device(trial: Trial) -> None:
    """Law 7, on any machine: what a verb makes is where its arguments are, whatever the default device."""
    state, verbs = trial.used(), _verbs(trial)
    for name, verb in verbs.items():
        expected = leaves(verb(state))
        with torch.device("meta"):
            found = leaves(verb(state))
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other, f"{name} with another default device")


def _verbs(trial: Trial) -> dict[str, Callable[[Any], Any]]:
    """Each verb as a function of the state alone."""
    storage, steps = trial.storage, trial.sequence()
    everywhere = torch.ones(trial.batch, dtype=torch.bool)
    verbs: dict[str, Callable[[Any], Any]] = {
        "read": lambda state: (storage.read(state, steps.query).value,),
        "write": lambda state: storage.write(state, steps.key, steps.value, steps.write_strength),
        "scan": lambda state: storage.scan(state, *steps),
        "inspect": lambda state: tuple(storage.inspect(state).values()),
        "reset": lambda state: storage.reset(state, everywhere),
    }
    if trial.offers("erase"):
        verbs["erase"] = lambda state: storage.erase(state, steps.key, steps.erase_strength)
    if trial.offers("entries"):
        verbs["entries"] = lambda state: storage.entries(state)
    if trial.offers("update"):
        slots = torch.zeros((*trial.batch, 1), dtype=torch.int64)
        verbs["update"] = lambda state: storage.update(state, slots, steps.value[..., :1, :])
    if trial.batch:
        items = torch.arange(trial.batch[0])
        verbs["select"] = lambda state: storage.select(state, items)
    return verbs


def _check_inplace(trial: Trial) -> None:
    """``inplace`` is refused while gradients are recorded; otherwise it gives what the plain verb gives."""
    storage, steps = trial.storage, trial.sequence()
    calls: dict[str, tuple[Any, ...]] = {"write": (steps.key, steps.value, steps.write_strength)}
    if trial.offers("erase"):
        calls["erase"] = (steps.key, steps.erase_strength)
    if trial.offers("update"):
        last = storage.entries(trial.empty()).filled.shape[-1] - 1
        slots = torch.tensor([0, min(1, last), 0]).expand(*trial.batch, 3)
        calls["update"] = (slots, trial.values(3))
    for name, arguments in calls.items():
        verb = getattr(storage, name)
        try:
            with torch.enable_grad():
                verb(trial.used(), *arguments, inplace=True)
        except RuntimeError:
            pass
        else:
            raise AssertionError(f"{name}(inplace=True) must raise RuntimeError while gradients are recorded")
        with torch.no_grad():
            expected = verb(trial.used(), *arguments)
            reused = map_state(torch.clone, trial.used())
            found = verb(reused, *arguments, inplace=True)
            assert_same_memory(trial, found, expected, f"{name} in place")
