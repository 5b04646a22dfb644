"""Reads of several requests in one call of the model."""

from typing import NamedTuple

import torch
from torch import Tensor

from recollect.lasting import Explanation

Tensors = Tensor | dict[str, Tensor]


class Read(NamedTuple):
    """A request to predict.

    Attributes:
        inputs: Of the model, batch axis first.
        explained: Whether to cite what is read.
    """

    inputs: Tensors
    explained: bool


class Prediction(NamedTuple):
    """What the layer with the memory returned for the n outputs of a call.

    Attributes:
        positions: Index of each output: ``(item,)`` or ``(item, step)``.
        output: ``(n, C)`` probabilities of classes, or ``(n, V)`` values.
        weight: ``(n,)``, λ of each.
        explanations: What each has read, if that was asked for.
    """

    positions: list[tuple[int, ...]]
    output: Tensor
    weight: Tensor
    explanations: list[Explanation]


def items_of(inputs: Tensors) -> int:
    """The number of items of a batch."""
    return len(inputs) if isinstance(inputs, Tensor) else len(next(iter(inputs.values())))


def alike(first: Tensors, second: Tensors) -> bool:
    """Whether the items of two batches have the same shapes."""
    if isinstance(first, Tensor) or isinstance(second, Tensor):
        return (
            isinstance(first, Tensor) and isinstance(second, Tensor) and first.shape[1:] == second.shape[1:]
        )
    return all(first[name].shape[1:] == second[name].shape[1:] for name in first)


def joined(parts: list[Tensors]) -> Tensors:
    """Several batches as one."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat([part for part in parts if isinstance(part, Tensor)])
    named = [part for part in parts if isinstance(part, dict)]
    return {name: torch.cat([part[name] for part in named]) for name in first}


def split(prediction: Prediction, reads: list[Read]) -> list[Prediction]:
    """The part of each request, in a prediction for all of them."""
    sizes = [items_of(read.inputs) for read in reads]
    steps = len(prediction.positions) // sum(sizes)
    parts, item = [], 0
    for read, size in zip(reads, sizes, strict=True):
        here = slice(item * steps, (item + size) * steps)
        positions = [(place[0] - item, *place[1:]) for place in prediction.positions[here]]
        cited = prediction.explanations[here] if read.explained else []
        parts.append(Prediction(positions, prediction.output[here], prediction.weight[here], cited))
        item += size
    return parts
