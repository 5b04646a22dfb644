"""Calls with packed sequences or a single item, as calls with a batch of padded sequences."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from recollect.integrations.call import Call, first_output, replace_first

Finish: TypeAlias = Callable[[Any], Any]
"""Gives an output the form that the caller expects."""


def with_batch_axis(call: Call, axis: int) -> tuple[Call, Finish]:
    """Turn a call with one item into a call with a batch of one; the layer still sees the item."""

    def with_input(new: Tensor) -> Any:
        output = call.with_input(new.squeeze(axis))
        return replace_first(output, first_output(output).unsqueeze(axis))

    def finish(output: Any) -> Any:
        return replace_first(output, first_output(output).squeeze(axis))

    return call._replace(x=call.x.unsqueeze(axis), with_input=with_input), finish


def with_padding(call: Call, batch_first: bool) -> tuple[Call, Finish]:
    """Turn a call with a ``PackedSequence`` into one with a padded tensor; the layer still sees it packed."""
    packed: PackedSequence = call.x
    padded, lengths = pad_packed_sequence(packed, batch_first=batch_first)
    steps = torch.arange(padded.shape[1 if batch_first else 0], device=padded.device)
    mask = steps < lengths.to(padded.device).unsqueeze(-1)

    def pack(x: Tensor) -> PackedSequence:
        order = packed.sorted_indices
        if order is None:
            sorted_x, sizes = x, lengths
        else:
            sorted_x, sizes = (
                x.index_select(0 if batch_first else 1, order),
                lengths[order.to(lengths.device)],
            )
        return packed._replace(data=pack_padded_sequence(sorted_x, sizes, batch_first=batch_first).data)

    def with_input(new: Tensor) -> Any:
        return _map_first(
            call.with_input(pack(new)), PackedSequence, lambda h: pad_packed_sequence(h, batch_first)[0]
        )

    return call._replace(x=padded, with_input=with_input, mask=mask), lambda y: _map_first(y, Tensor, pack)


def _map_first(output: Any, kind: type, function: Callable[[Any], Any]) -> Any:
    """Apply ``function`` to an output, or to the first part of a tuple, if it is of a kind."""
    if isinstance(output, kind):
        return function(output)
    if isinstance(output, tuple) and output and isinstance(output[0], kind):
        return (function(output[0]), *output[1:])
    return output
