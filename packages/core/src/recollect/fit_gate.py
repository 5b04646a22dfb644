"""Choosing the weight of a lasting memory on validation data, so that it does no harm."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recollect.integrations.gate_choice import (
    NO_WEIGHT,
    PART,
    Cached,
    Choice,
    choose,
    gate_weight,
    memory_says,
    output_loss,
    part_of,
    temperatures_around,
)
from recollect.integrations.interpolation import Interpolation
from recollect.integrations.mixture_gate import AdaptiveGate, ConstantGate, model_view
from recollect.integrations.observation import run_example
from recollect.lasting import IGNORED, lasting_layer
from recollect.memories.neighbor import Neighborhood

KS = (1, 2, 4, 8, 16, 32)
"""Numbers of neighbours that are tried."""


class GateReport(NamedTuple):
    """What ``fit_gate`` found.

    Attributes:
        helps: Whether the memory helps on the validation data; if not, its weight is zero.
        weight: λ, the mean of an adaptive gate.
        temperature: τ.
        k: Number of neighbours.
        loss_without: Mean loss of the model alone: nats, or squared error.
        loss_with: Mean loss of the mixture on outputs that were not used to choose it (two-fold).
        standard_error: That of their difference, over items.
        items: Number of items.
    """

    helps: bool
    weight: float
    temperature: float
    k: int
    loss_without: float
    loss_with: float
    standard_error: float
    items: int

    def __str__(self) -> str:
        """A line for a log."""
        losses = f"loss {self.loss_without:.4f} without and {self.loss_with:.4f} with it"
        verdict = "the memory helps" if self.helps else "the memory adds nothing, its weight is 0"
        return f"{verdict}: {losses} (± {self.standard_error:.4f}, {self.items} items)"


def fit_gate(
    model: nn.Module,
    validation: Iterable[tuple[Any, Tensor]],
    *,
    ks: Sequence[int] = KS,
    temperatures: Sequence[float] | None = None,
    at: str | None = None,
) -> GateReport:
    """Choose λ, τ and k of a lasting memory on validation data, in one pass of the model over it.

    The neighbours of every output are searched once. For each τ and k the best λ is then exact, as the loss
    is convex in it. An ``AdaptiveGate`` is trained instead of λ. The choice is made twice, on either half of
    the items, and judged on the other half. If the mixture is not better there than the model alone by more
    than one standard error, λ becomes zero: a memory that has nothing to add is switched off.

    The rows of the memory must not come from the validation data.

    Args:
        model: A model with a lasting memory in an ``Interpolation`` whose gate is a number, ``"fitted"`` or
            ``"adaptive"``.
        validation: Pairs of inputs and targets, as ``recollect.remember`` takes them.
        ks: Numbers of neighbours to try.
        temperatures: Temperatures to try; by default a range around the distances that are found.
        at: Name of the layer, if several have a lasting memory.

    Raises:
        ValueError: If there are fewer than four items, or the gate is a running one, which needs no
            validation. Nothing is changed.

    Example:
        >>> from functools import partial
        >>> from recollect import Interpolation, NeighborMemory, VectorStorage, augment, remember
        >>> model = nn.Sequential(nn.Linear(2, 3))
        >>> memory = NeighborMemory(2, VectorStorage(2, 1, slots=100), classes=3)
        >>> model = augment(model, at="0", memory=memory, integration=Interpolation)
        >>> x = torch.randn(90, 2, generator=torch.Generator().manual_seed(0))
        >>> y = (x[:, 0] > 0).long()
        >>> _ = remember(model, x[:60], y[:60])
        >>> fit_gate(model, [(x[60:], y[60:])]).helps
        True
    """
    _, integration = lasting_layer(model, at)
    if integration.running:
        raise ValueError("a running gate weighs the memory by what it has predicted and needs no validation")
    if not ks or min(ks) < 1:
        raise ValueError(f"ks must name numbers of neighbours, got {list(ks)}")
    cached = _cache(model, integration, validation, max(ks))
    items = int(cached.item.max()) + 1 if len(cached.item) else 0
    if items < 4:
        raise ValueError(f"fit_gate needs at least 4 validation items, got {items}")
    choices = [(k, tau) for k in ks for tau in temperatures or temperatures_around(cached.distance)]
    first = cached.item % 2 == 0
    gains = torch.zeros(len(cached.item), dtype=torch.float64, device="cpu")
    for half in (first, ~first):
        choice, rest = choose(integration, part_of(cached, half), choices), part_of(cached, ~half)
        said = memory_says(rest, choice.k, choice.temperature)
        gains[~half] = output_loss(rest, said, NO_WEIGHT) - output_loss(
            rest, said, gate_weight(integration, rest, choice)
        )
    gain, error = _mean_over_items(gains, cached.item)
    choice, helps = choose(integration, cached, choices), gain > error
    said = memory_says(cached, choice.k, choice.temperature)
    without, _ = _mean_over_items(output_loss(cached, said, NO_WEIGHT), cached.item)
    weight = float(gate_weight(integration, cached, choice).mean()) if helps else 0.0
    _set(integration, choice, helps)
    return GateReport(helps, weight, choice.temperature, choice.k, without, without - gain, error, items)


# --- one pass over the validation data ----------------------------------------------------------------------


def _cache(
    model: nn.Module, integration: Interpolation, validation: Iterable[tuple[Any, Tensor]], k: int
) -> Cached:
    memory, parts, items = integration.memory, [], 0
    for inputs, targets in validation:
        with integration.recording() as calls:
            run_example(model, inputs)
        if len(calls) != 1:
            raise ValueError(f"the layer was called {len(calls)} times by one call of the model, not once")
        query, mask, h = calls[0]
        if targets.shape[: query.dim() - 1] != query.shape[:-1]:
            raise ValueError(
                f"targets {tuple(targets.shape)} do not go with hidden states {tuple(query.shape)}"
            )
        kept = torch.ones(query.shape[:-1], dtype=torch.bool, device="cpu") if mask is None else mask.cpu()
        if memory.classes is not None:
            kept = kept & (targets.cpu() != IGNORED)
        item = items + kept.nonzero()[:, 0]
        items += len(kept)
        kept = kept.to(query.device)
        columns = item, query[kept], h[kept].float(), targets.to(query.device)[kept]
        for number, key, row, wanted in zip(*(torch.split(column, PART) for column in columns), strict=True):
            compared = _compared(integration, memory.lookup(key, k=k), row, wanted)
            parts.append([part.cpu() for part in (number, *compared)])
    if not parts:
        raise ValueError("there is no validation data")
    cached = Cached(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
    return cached._replace(item=torch.unique(cached.item, return_inverse=True)[1])  # some have no output


def _compared(
    integration: Interpolation, found: Neighborhood, rows: Tensor, wanted: Tensor
) -> tuple[Tensor, ...]:
    """The fields of ``Cached`` but the first."""
    values = found.values
    if integration.memory.classes is None:
        zero = rows.new_zeros(len(rows))
        errors = values - rows.unsqueeze(-2), wanted - rows
        return zero, found.distance, *errors, values, zero, zero, torch.zeros_like(wanted[:, 0]).long()
    if values.shape[-1] == 1:
        hit = (values.squeeze(-1).round().long() == wanted.unsqueeze(-1)).float()
    else:
        hit = values.gather(-1, wanted[:, None, None].expand(-1, values.shape[1], 1)).squeeze(-1)
    log_model = rows.log_softmax(-1).gather(-1, wanted.unsqueeze(-1)).squeeze(-1)
    return log_model, found.distance, hit, rows[:, :0], values, *model_view(rows)


def _mean_over_items(values: Tensor, item: Tensor) -> tuple[float, float]:
    """Mean of all outputs, and its standard error over items, whose outputs depend on each other."""
    mean = values.mean()
    totals = values.new_zeros(int(item.max()) + 1).index_add(0, item, values - mean)
    count = len(torch.unique(item))
    return float(mean), float(totals.square().sum().sqrt() / len(values) * math.sqrt(count / (count - 1)))


def _set(integration: Interpolation, choice: Choice, helps: bool) -> None:
    memory, gate = integration.memory, integration.gate
    memory.k = choice.k
    memory.log_temperature.data.fill_(math.log(choice.temperature))
    shut = AdaptiveGate() if isinstance(gate, AdaptiveGate) else ConstantGate()
    gate.load_state_dict((choice.gate if helps else shut).state_dict())
