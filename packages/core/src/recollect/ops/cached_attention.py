"""Attention over entries that many queries read in turn."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from recollect.ops.attention import l2_normalize, presence_bias
from recollect.ops.inspection import all_full, can_inspect
from recollect.ops.products import product
from recollect.state import Entries, Read


class SoftmaxRead(NamedTuple):
    """A read as softmax attention over all entries, with weights ∝ presence · exp(sharpness · similarity).

    Attributes:
        entries: The entries; those of free slots are zero.
        sharpness: Factor on the similarity, a scalar.
        cosine: Whether the similarity is the cosine instead of the dot product.
    """

    entries: Entries
    sharpness: Tensor
    cosine: bool


class PreparedEntries(NamedTuple):
    """Entries of which softmax(sharpness · query · keysᵀ + bias) · values is a read.

    Attributes:
        keys: ``(…, N, K)``, normalised for the cosine.
        values: ``(…, N, V)``.
        bias: ``(…, 1, N)``, the logarithm of presence; ``None`` if all entries are known to be present.
        found: ``(…, 1, 1)`` bool, whether anything is present; ``None`` if it is known to be.
    """

    keys: Tensor
    values: Tensor
    bias: Tensor | None
    found: Tensor | None


def prepare_entries(read: SoftmaxRead) -> PreparedEntries:
    """Normalise keys, and turn presence into a bias, once for many queries."""
    entries = read.entries
    keys = l2_normalize(entries.keys) if read.cosine else entries.keys
    if all_full(entries.filled):
        return PreparedEntries(keys, entries.values, None, None)
    wide = torch.promote_types(entries.filled.dtype, torch.float32)
    bias, found = presence_bias(entries.filled.to(wide).unsqueeze(-2))
    return PreparedEntries(keys, entries.values, bias, found)


def cached_attention(read: SoftmaxRead) -> Callable[[Tensor], Read]:
    """Return a function that reads as ``read`` says, and prepares the entries once for all queries.

    On CPU, trailing empty slots are left out.
    """
    keys, values, bias, found = prepare_entries(read._replace(entries=trim_empty_slots(read.entries)))
    keys = keys.mT  # (…, K, N)
    slots = torch.arange(keys.shape[-1], device=keys.device)

    def attend(query: Tensor) -> Read:
        if read.cosine:
            query = l2_normalize(query)
        scores = product(query * read.sharpness.to(query.dtype), keys.to(query.dtype))  # (…, Q, N)
        if bias is None or found is None:
            weights = scores.softmax(-1, torch.promote_types(scores.dtype, torch.float32))
        else:
            weights = (scores + bias).softmax(-1) * found
        return Read(product(weights.to(values.dtype), values), weights, slots.expand(weights.shape))

    return attend


def trim_empty_slots(entries: Entries) -> Entries:
    """Drop the empty slots at the end that all batch items share; at least one slot is kept.

    This looks at the data, so it only happens on CPU and outside ``torch.compile``; elsewhere the entries are
    returned as they are.
    """
    if not can_inspect(entries.filled) or all_full(entries.filled):
        return entries
    filled = (entries.filled.detach() > 0).reshape(-1, entries.filled.shape[-1]).any(0).nonzero()
    end = int(filled[-1]) + 1 if len(filled) else 1
    return Entries(
        entries.keys[..., :end, :].contiguous(),
        entries.values[..., :end, :].contiguous(),
        entries.filled[..., :end],
    )
