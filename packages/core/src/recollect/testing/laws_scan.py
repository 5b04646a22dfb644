"""Law 14: what a scan keeps and does grows with the number of its steps, not with that times the slots."""

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from recollect.testing.trial import Trial, leaves

SHORT, LONG = 16, 32
"""Numbers of steps that are compared."""


class Cost(NamedTuple):
    """What a computation costs.

    Attributes:
        kept: Number of elements that autograd keeps for the backward pass.
        made: Number of elements that operations make, in both passes.
    """

    kept: int
    made: int


class _Elements(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the elements of new tensors, views and results in place aside."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.made: list[tuple[StorageWeakRef, int]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        given = {_address(item) for item in (*args, *(kwargs or {}).values()) if isinstance(item, Tensor)}
        for item in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(item, Tensor) and _address(item) not in given:
                reference = StorageWeakRef(item.untyped_storage())  # type: ignore[no-untyped-call]
                self.made.append((reference, item.numel()))
        return result

    def count(self, kept: bool = False) -> int:
        """Number of elements made so far, or of those that are still kept."""
        total = 0
        for reference, size in self.made:
            gone = kept and reference.expired()  # type: ignore[no-untyped-call]
            total += 0 if gone else size
        return total


def check_long_scans(trial: Trial) -> None:
    """Law 14: time and memory of a scan of T steps grow with T, not with T · N, unless algebra forces it.

    Memory is what autograd keeps. For each further step, ``trial.larger`` keeps what ``trial.storage`` does,
    and half a number for each slot at most. Time is measured by the elements that operations make, forward
    and backward: for each further step a few times those of a single erase, write and read, in place unless
    ``trial.changes_all``.

    What the algebra of a storage forces, and the law therefore allows:

    - A read that weighs all N entries, and a policy that searches them for the least recently used or for a
      matching one, make O(N) elements a step, as the single verbs do. None of them is kept: slots are planned
      outside autograd, and weights are computed again, block by block, in the backward pass.
    - A removal from a link matrix changes all N² weights, and its gradient needs the weights before it. Such
      a storage (``trial.changes_all``) goes step by step and keeps 2 √T states.

    The law is not checked if ``trial.larger`` is ``None``.
    """
    if trial.larger is None:
        return
    small = replace(trial, batch=())
    large = replace(small, storage=trial.larger)
    kept, _ = _cost_of_a_step(small)
    kept_of_larger, made = _cost_of_a_step(large)
    allowed = 1.25 * kept + (0 if large.slots is None else large.slots.capacity / 2)
    if trial.changes_all:
        state = sum(leaf.numel() for leaf in leaves(large.empty()))
        allowed += 2 * LONG**0.5 * state / (LONG - SHORT)
    assert kept_of_larger <= allowed, (
        f"a scan keeps {kept_of_larger:.0f} numbers for each step, and {kept:.0f} over a smaller store"
    )
    single = _verb_cost(large)
    assert made <= 6 * single, f"a scan makes {made:.0f} numbers for each step, single verbs {single}"


def _cost_of_a_step(trial: Trial) -> tuple[float, float]:
    """Elements that a scan keeps and makes for each further step."""
    short, long = (_scan_cost(trial, count) for count in (SHORT, LONG))
    kept, made = ((many - few) / (LONG - SHORT) for few, many in zip(short, long, strict=True))
    return kept, made


def _scan_cost(trial: Trial, count: int) -> Cost:
    """Cost of a scan of ``count`` steps, forward and backward, from a state with a few entries."""
    steps = trial.sequence(count).requiring_grad()
    state, seen = trial.written_state(), _Elements()
    with seen:
        output = trial.storage.scan(state, *steps)[0]
        kept = seen.count(kept=True)
        torch.autograd.grad(output.sum(), list(steps.floats().values()), allow_unused=True)
    return Cost(kept, seen.count())


def _verb_cost(trial: Trial) -> int:
    """Number of elements that one erase, write and read make."""
    steps, seen, inplace = trial.sequence(1), _Elements(), not trial.changes_all
    state = trial.written_state()
    with torch.no_grad(), seen:
        state = trial.storage.erase(state, steps.key, steps.erase_strength, inplace=inplace)
        state = trial.storage.write(state, steps.key, steps.value, steps.write_strength, inplace=inplace)
        trial.storage.read(state, steps.query)
    return seen.count()


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
