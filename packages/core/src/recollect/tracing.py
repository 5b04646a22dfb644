"""Tracing: what the memories and storages of a model read while it runs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from recollect.memories.base import Memory
from recollect.state import Read
from recollect.storages.base import Storage


class Trace:
    """Every read, and the last state that each storage read.

    Attributes:
        reads: Reads in order, by the name of the memory that made them, or of the storage if it belongs to
            no memory.
        states: Storage and last state, by the name of the storage.
    """

    def __init__(self) -> None:
        self.reads: dict[str, list[Read]] = {}
        self.states: dict[str, tuple[Storage, Any]] = {}

    def figures(self) -> dict[str, Tensor]:
        """Means over the batch: ``<storage>/occupancy``, ``<storage>/age``, ``<name>/read_entropy``."""
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
    """Entropy in nats of each read ``(…, Q, k)`` with any weight, flattened; 0 is a single entry.

    Example:
        >>> read_entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 0.0]]))
        tensor([0.0000, 0.6931])
    """
    weights = weights.float()
    entropy: Tensor = torch.special.entr(weights).sum(-1)
    return entropy[weights.sum(-1) > 0]


def state_figures(inspected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Mean ``occupancy`` and ``age`` of the result of ``Storage.inspect``; age over filled slots only."""
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
def trace(model: nn.Module) -> Iterator[Trace]:
    """Trace every memory and storage of a model while the block runs.

    Example:
        >>> from recollect import VectorStorage
        >>> storage = VectorStorage(2, 2, slots=4)
        >>> state = storage.write(storage.initial_state(), torch.eye(2), torch.eye(2))
        >>> with trace(nn.ModuleDict({"store": storage})) as traced:
        ...     _ = storage.read(state, torch.eye(2))
        >>> round(traced.figures()["store/occupancy"].item(), 2), sorted(traced.figures())
        (0.5, ['store/age', 'store/occupancy', 'store/read_entropy'])
    """
    traced = Trace()
    names = {module: name for name, module in model.named_modules()}
    # The innermost memory around a storage comes last in named_modules, and owns its reads.
    owners = {part: module for module in names if isinstance(module, Memory) for part in module.modules()}
    with ExitStack() as hooks:
        for module, name in names.items():
            if isinstance(module, Storage):
                owner = names[owners[module]] or "memory" if module in owners else name or "storage"
                hooks.enter_context(_record(module, name or "storage", owner, traced))
        yield traced


def _record(storage: Storage, name: str, owner: str, traced: Trace) -> RemovableHandle:
    def record(storage: Storage, state: Any, read: Read) -> None:
        traced.states[name] = (storage, state)
        traced.reads.setdefault(owner, []).append(read)

    return storage.register_read_hook(record)
