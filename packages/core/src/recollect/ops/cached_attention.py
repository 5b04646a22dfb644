"""Attention over entries that many queries read in turn."""

from collections.abc import Callable

import torch
from torch import Tensor

from recollect.ops.attention import l2_normalize, presence_bias
from recollect.state import Entries, Read


def cached_attention(entries: Entries, sharpness: Tensor, cosine: bool) -> Callable[[Tensor], Read]:
    """Return a function that reads ``entries`` with weights ∝ presence · exp(sharpness · similarity).

    Keys are normalised and scaled, and presence is turned into a bias, once for all queries. On CPU, trailing
    empty slots are left out.

    Args:
        entries: The entries to read.
        sharpness: Factor on the similarity, a scalar.
        cosine: Use the cosine instead of the dot product.
    """
    entries = trim_empty_slots(entries)
    keys = l2_normalize(entries.keys) if cosine else entries.keys
    keys = (keys * sharpness).mT  # (…, K, N)
    values = entries.values
    wide = torch.promote_types(entries.filled.dtype, torch.float32)
    bias, found = presence_bias(entries.filled.to(wide).unsqueeze(-2))
    slots = torch.arange(keys.shape[-1], device=keys.device)
    shape = f"({', '.join(map(str, keys.shape[:-2]))}{', ' * (keys.dim() > 2)}n, {keys.shape[-2]})"

    def read(query: Tensor) -> Read:
        if query.dim() != keys.dim() or (*query.shape[:-2], query.shape[-1]) != keys.shape[:-1]:
            raise ValueError(f"query must have shape {shape}, got {tuple(query.shape)}")
        if cosine:
            query = l2_normalize(query)
        weights = (query @ keys.to(query.dtype) + bias).softmax(-1) * found  # (…, Q, N)
        return Read(weights.to(values.dtype) @ values, weights, slots.expand(weights.shape))

    return read


def trim_empty_slots(entries: Entries) -> Entries:
    """Drop the empty slots at the end that all batch items share; at least one slot is kept.

    This looks at the data, so it only happens on CPU and outside ``torch.compile``; elsewhere the entries are
    returned as they are.
    """
    if entries.keys.device.type != "cpu" or torch.compiler.is_compiling():
        return entries
    filled = (entries.filled.detach() > 0).reshape(-1, entries.filled.shape[-1]).any(0).nonzero()
    end = int(filled[-1]) + 1 if len(filled) else 1
    return Entries(
        entries.keys[..., :end, :].contiguous(),
        entries.values[..., :end, :].contiguous(),
        entries.filled[..., :end],
    )
