"""Seeing what the memories inside a model do while it runs."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from recollect.memories.base import Memory
from recollect.storages.base import Storage
from recollect.storages.results import Read


class Watched:
    """What was seen: every read, and the last state of every storage, by the module's name in the model."""

    def __init__(self) -> None:
        self.reads: dict[str, list[Read]] = {}
        self.states: dict[str, tuple[Storage, Any]] = {}

    def figures(self) -> dict[str, Tensor]:
        """Means over the batch by name: ``<module>/occupancy``, ``…/age``, ``…/read_entropy``."""
        figures: dict[str, Tensor] = {}
        for name, (storage, state) in self.states.items():
            for figure, value in state_figures(storage.inspect(state)).items():
                figures[f"{name}/{figure}"] = value
        for name, reads in self.reads.items():
            entropies = [read_entropy(read.weights.detach()) for read in reads if read.weights is not None]
            found = torch.cat([entropy.flatten() for entropy in entropies]) if entropies else torch.zeros(0)
            if found.numel():
                figures[f"{name}/read_entropy"] = found.mean()
        return figures


def read_entropy(weights: Tensor) -> Tensor:
    """Entropy in nats of each read ``(…, Q, k)`` that found anything, in one row; 0 is a single entry.

    Example:
        >>> read_entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 0.0]]))
        tensor([0.0000, 0.6931])
    """
    weights = weights.float()
    entropy: Tensor = torch.special.entr(weights).sum(-1)
    return entropy[weights.sum(-1) > 0]


def state_figures(inspected: dict[str, Tensor]) -> dict[str, Tensor]:
    """``occupancy`` and ``age`` of what ``Storage.inspect`` gave; age over filled entries only."""
    figures: dict[str, Tensor] = {}
    if "occupancy" in inspected:
        figures["occupancy"] = inspected["occupancy"].detach().float().mean()
    age, presence = inspected.get("age"), inspected.get("presence")
    if age is not None:
        age = age.detach().float()
        if presence is not None and presence.shape == age.shape:
            age = age[presence > 0]
        if age.numel():
            figures["age"] = age.mean()
    return figures


@contextmanager
def watch(model: nn.Module) -> Iterator[Watched]:
    """Watch every memory and storage in a model while the block runs; nothing is left behind afterwards.

    Example:
        >>> from recollect import VectorStorage
        >>> storage = VectorStorage(2, 2, slots=4)
        >>> state = storage.write(storage.initial_state(), torch.eye(2), torch.eye(2))
        >>> with watch(nn.ModuleDict({"store": storage})) as watched:
        ...     _ = storage.read(state, torch.eye(2))
        >>> round(watched.figures()["store/occupancy"].item(), 2), sorted(watched.figures())
        (0.5, ['store/age', 'store/occupancy', 'store/read_entropy'])
    """
    watched = Watched()
    within: set[Storage] = set()
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if isinstance(module, Memory):
                watched.reads[name or "memory"] = stack.enter_context(module.tracing())
                within.update(part for part in module.modules() if isinstance(part, Storage))
        for name, module in model.named_modules():
            if isinstance(module, Storage):
                stack.enter_context(_listen(module, name or "storage", watched, module not in within))
        yield watched


@contextmanager
def _listen(storage: Storage, name: str, watched: Watched, keep_reads: bool) -> Iterator[None]:
    """Note the states that pass through ``read``, ``reader`` and ``scan`` of one storage."""
    # Set on the instance, so that other storages of the class are as they were.
    storage.__dict__["read"] = _noting_read(storage, name, watched, keep_reads)
    storage.__dict__["reader"] = _noting_reader(storage, name, watched, keep_reads)
    storage.__dict__["scan"] = _noting_scan(storage, name, watched)
    try:
        yield
    finally:
        del storage.__dict__["read"], storage.__dict__["reader"], storage.__dict__["scan"]


def _noting_read(storage: Storage, name: str, watched: Watched, keep_reads: bool) -> Callable[..., Read]:
    original = storage.read

    def read(state: Any, *args: Any, **kwargs: Any) -> Read:
        result = original(state, *args, **kwargs)
        watched.states[name] = (storage, state)
        if keep_reads:
            watched.reads.setdefault(name, []).append(result)
        return result

    return read


def _noting_reader(
    storage: Storage, name: str, watched: Watched, keep_reads: bool
) -> Callable[[Any], Callable[[Tensor], Read]]:
    original = storage.reader

    def reader(state: Any) -> Callable[[Tensor], Read]:
        watched.states[name] = (storage, state)
        look = original(state)

        def read(query: Tensor) -> Read:
            result = look(query)
            noted = watched.reads.get(name, [])
            if keep_reads and not (noted and noted[-1] is result):  # by way of ``read`` it is noted already
                watched.reads.setdefault(name, []).append(result)
            return result

        return read

    return reader


def _noting_scan(storage: Storage, name: str, watched: Watched) -> Callable[..., tuple[Tensor, Any]]:
    original = storage.scan

    def scan(state: Any, *args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        output, state = original(state, *args, **kwargs)
        watched.states[name] = (storage, state)
        return output, state

    return scan
