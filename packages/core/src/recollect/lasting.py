"""What users do with the lasting memories of a model: remember, explain, forget."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recollect.fingerprint import model_fingerprint
from recollect.integrations.interpolation import Interpolation, LastRead
from recollect.integrations.observation import run_example
from recollect.memories.neighbor import NeighborMemory
from recollect.memory_forward import augmented_layers, memory_forward
from recollect.storages.engine import Origin

IGNORED = -100
"""Class of steps without a target, as in ``nn.CrossEntropyLoss``."""


class Citation(NamedTuple):
    """A row that was read.

    Attributes:
        row: Its number.
        source: Where it comes from.
        time: When it was written, in seconds since 1970 (UTC).
        weight: Its share of what the memory predicted, in [0, 1].
        distance: Its distance from the query.
        target: Its class, or its vector.
    """

    row: int
    source: str
    time: float
    weight: float
    distance: float
    target: int | list[float]


class Explanation(NamedTuple):
    """What a memory contributed to one output.

    Attributes:
        layer: Name of the layer with the memory.
        position: Index of the output among the leading axes: ``(item,)`` or ``(item, step)``.
        weight: λ, the weight of the memory in the output; zero if it was not used.
        citations: The rows that were read, the one with the largest weight first.
    """

    layer: str
    position: tuple[int, ...]
    weight: float
    citations: list[Citation]


class Pairs(NamedTuple):
    """Rows to write to a lasting memory.

    Attributes:
        memory: The memory.
        kept: ``(B,)`` or ``(B, T)`` bool, the outputs that the W rows belong to.
        keys: Hidden states ``(W, D)``.
        targets: Classes ``(W,)``, or vectors ``(W, V)``.
        sources: One source for all rows, or one for each.
    """

    memory: NeighborMemory
    kept: Tensor
    keys: Tensor
    targets: Tensor
    sources: str | list[str]


# --- remembering --------------------------------------------------------------------------------------------


def remember(
    model: nn.Module,
    inputs: Any,
    targets: Tensor,
    source: str | Sequence[str] = "",
    *,
    mask: Tensor | None = None,
    at: str | None = None,
) -> Tensor:
    """Run the model and write (hidden state → target) to its lasting memory. Nothing is trained.

    Args:
        model: A model that ``augment`` has given a ``NeighborMemory`` with ``Interpolation``. It runs in
            evaluation mode and without gradients.
        inputs: An input of the model: a tensor, a tuple of its arguments, or a mapping of keyword arguments.
        targets: What the output layer should have predicted: classes ``(B,)`` or ``(B, T)``, −100 for none;
            or vectors ``(B, V)`` or ``(B, T, V)``.
        source: Where this comes from, to cite and forget it by: one name, or one for each of B items.
        mask: ``(B,)`` or ``(B, T)`` bool; a step where it is false is not written.
        at: Name of the layer, if several have a lasting memory.

    Returns:
        Numbers of the rows, in the shape of the targets; −1 where none was written.

    Raises:
        ValueError: If shapes do not fit, the memory holds hidden states of a model with other weights, or
            there is no such memory. Nothing is written.

    Example:
        >>> from functools import partial
        >>> from recollect import Interpolation, NeighborMemory, VectorStorage, augment, explain, forget
        >>> model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3))
        >>> memory = NeighborMemory(4, VectorStorage(4, 1, slots=100), classes=3)
        >>> model = augment(model, at="2", memory=memory, integration=partial(Interpolation, gate=0.5))
        >>> x = torch.randn(1, 2)
        >>> remember(model, x, torch.tensor([2]), source="ticket-4711")
        tensor([0])
        >>> y = model(x)
        >>> [citation.source for citation in explain(model)[0].citations]
        ['ticket-4711']
        >>> forget(model, source="ticket-4711")
        1
    """
    pairs = pairs_of(model, inputs, targets, source, mask=mask, at=at)
    pairs.memory.rows.claim(model_fingerprint(model))
    rows = torch.full(pairs.kept.shape, -1, device=pairs.kept.device)
    if len(pairs.keys):
        rows[pairs.kept] = pairs.memory.remember(*pairs[2:]).to(rows.device)
    return rows


def pairs_of(
    model: nn.Module,
    inputs: Any,
    targets: Tensor,
    source: str | Sequence[str] = "",
    *,
    mask: Tensor | None = None,
    at: str | None = None,
) -> Pairs:
    """Run the model and return what ``remember`` writes, without writing it. See there for the arguments."""
    layer, integration = lasting_layer(model, at)
    memory = integration.memory
    with integration.recording() as queries:
        run_example(model, inputs)
    if len(queries) != 1:
        raise ValueError(f"{layer} was called {len(queries)} times by one call of the model, not once")
    query, padding, _ = queries[0]
    lead = query.shape[:-1]
    classes = memory.classes is not None and not targets.is_floating_point()
    if targets.shape[: len(lead)] != lead or targets.dim() != len(lead) + (not classes):
        raise ValueError(
            f"targets of shape {tuple(targets.shape)} do not go with the hidden states at {layer}, "
            f"{tuple(query.shape)}"
        )
    targets = targets.to(query.device)
    kept = targets != IGNORED if classes else torch.ones(lead, dtype=torch.bool, device=query.device)
    for given in (mask, padding):
        if given is not None:
            if given.shape != lead or given.dtype != torch.bool:
                raise ValueError(
                    f"mask must be bool of shape {tuple(lead)}, got {given.dtype} {tuple(given.shape)}"
                )
            kept = kept & given.to(query.device)
    return Pairs(memory, kept, query[kept], targets[kept], _names(source, kept))


def _names(source: str | Sequence[str], kept: Tensor) -> str | list[str]:
    """The source of each row that is kept."""
    if isinstance(source, str):
        return source
    if len(source) != len(kept):
        raise ValueError(f"{len(kept)} items need as many sources, got {len(source)}")
    return [source[item] for item in kept.nonzero()[:, 0].tolist()]


# --- explaining ---------------------------------------------------------------------------------------------


def explain(model: nn.Module, at: str | None = None) -> list[Explanation]:
    """Say which rows the last call of the model in this thread has read, with weight, source and distance.

    Calls of a compiled model are not recorded.

    Args:
        model: A model with lasting memories that has been called.
        at: Name of one layer; all by default.

    Returns:
        One explanation for each output of each layer with a lasting memory.

    Raises:
        ValueError: If the model has no lasting memory or was not called.
    """
    explanations: list[Explanation] = []
    for layer, integration in lasting_layers(model, at).items():
        if integration.last is None:
            raise ValueError(f"{layer}: nothing to explain before the model is called")
        explanations += _explained(layer, integration.memory, integration.last)
    return explanations


def _explained(layer: str, memory: NeighborMemory, last: LastRead) -> Iterable[Explanation]:
    found = last.found
    rows = torch.unique(found.slots[found.slots >= 0])
    known = dict(zip(rows.tolist(), memory.rows.origins(rows), strict=True))
    lead, k = last.weight.shape, found.slots.shape[-1]
    flat = [part.reshape(-1, k).tolist() for part in (found.slots, found.weights, found.distance)]
    values = found.values.reshape(-1, k, found.values.shape[-1])
    # Not torch.unravel_index: its first call imports torch's reference operations, seconds.
    positions = itertools.product(*(range(size) for size in lead))
    for number, (position, weight) in enumerate(zip(positions, last.weight.flatten().tolist(), strict=True)):
        citations = []
        for place, (row, share, distance) in enumerate(zip(*(part[number] for part in flat), strict=True)):
            origin = known.get(row)
            if origin is not None:
                target = _target(memory, values[number, place])
                citations.append(Citation(row, origin.source, origin.time, share, distance, target))
        citations.sort(key=lambda citation: -citation.weight)
        yield Explanation(layer, position, weight, citations)


def _target(memory: NeighborMemory, value: Tensor) -> int | list[float]:
    if memory.classes is None:
        return [float(number) for number in value]
    return int(value.round()) if len(value) == 1 else int(value.argmax())


# --- forgetting ---------------------------------------------------------------------------------------------


def forget(
    model: nn.Module,
    source: str | Sequence[str] | None = None,
    where: Callable[[Origin], bool] | None = None,
    *,
    at: str | None = None,
    purge: bool = True,
) -> int:
    """Forget rows of the model's lasting memories, exactly: as if they had never been written.

    Args:
        model: A model with lasting memories.
        source: Forget the rows of this source, or of these.
        where: Forget rows for which this function of their origin is true; of ``source`` only, if given.
        at: Name of one layer; all by default.
        purge: Also remove their bytes from memory or disk, not just from every answer. On disk this rewrites
            files; without it, their space is cleaned up later.

    Returns:
        The number of rows that were forgotten.

    Raises:
        ValueError: If neither ``source`` nor ``where`` is given, or the model has no lasting memory.
    """
    if source is None and where is None:
        raise ValueError("say what to forget, by source or where")
    sources = [source] if isinstance(source, str) else source
    stores = [part.memory.rows for part in lasting_layers(model, at).values()]
    return sum(store.forget(sources, where, purge=purge) for store in stores)


def provenance(model: nn.Module, at: str | None = None) -> dict[str, dict[str, int]]:
    """Return the number of rows of each source, by the name of the layer whose memory holds them."""
    return {layer: part.memory.rows.sources() for layer, part in lasting_layers(model, at).items()}


# --- the memories of a model --------------------------------------------------------------------------------


def lasting_layers(model: nn.Module, at: str | None = None) -> dict[str, Interpolation]:
    """Return the layers with a lasting memory, or the one called ``at``, by name.

    Raises:
        ValueError: If there is none.
    """
    found = {}
    for name, layer in augmented_layers(model).items():
        integration = memory_forward(layer).integration
        if isinstance(integration, Interpolation) and integration.memory.store is not None:
            found[name] = integration
    if not found:
        raise ValueError(f"no layer of this {type(model).__name__} has a lasting memory: augment it with one")
    if at is None:
        return found
    if at not in found:
        raise ValueError(f"{at} has no lasting memory; {', '.join(found)} has")
    return {at: found[at]}


def lasting_layer(model: nn.Module, at: str | None = None) -> tuple[str, Interpolation]:
    """Return the one layer with a lasting memory, and its name.

    Raises:
        ValueError: If there is none, or several and ``at`` names none of them.
    """
    found = lasting_layers(model, at)
    if len(found) > 1:
        raise ValueError(f"several layers have a lasting memory: name one of {', '.join(found)} with at=")
    return next(iter(found.items()))
