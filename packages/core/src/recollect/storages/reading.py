"""Many reads of entries that stay as they are."""

from collections.abc import Callable

import torch
from torch import Tensor

from recollect.storages.attention import unit
from recollect.storages.results import Entries, Read
from recollect.storages.scanning import presence_bias


def entries_reader(entries: Entries, sharpness: Tensor, cosine: bool) -> Callable[[Tensor], Read]:
    """A function that reads ``entries`` with weight ∝ presence · exp(sharpness · similarity).

    Keys are normalised and scaled, and presence is turned into a bias, once for all queries. On CPU, where
    looking at the data costs nothing, the empty places at the end are left out.

    Args:
        entries: What to read.
        sharpness: Factor on the similarity, a scalar.
        cosine: Whether similarity is the cosine, rather than the dot product.
    """
    entries = in_sight(entries)
    keys = unit(entries.keys) if cosine else entries.keys
    keys = (keys * sharpness).mT
    values = entries.values
    wide = torch.promote_types(entries.filled.dtype, torch.float32)
    bias, found = presence_bias(entries.filled.to(wide).unsqueeze(-2))
    places = torch.arange(keys.shape[-1], device=keys.device)
    shape = f"({', '.join(map(str, keys.shape[:-2]))}{', ' * (keys.dim() > 2)}n, {keys.shape[-2]})"

    def read(query: Tensor) -> Read:
        if query.dim() != keys.dim() or (*query.shape[:-2], query.shape[-1]) != keys.shape[:-1]:
            raise ValueError(f"query must have shape {shape}, got {tuple(query.shape)}")
        if cosine:
            query = unit(query)
        weights = (query @ keys.to(query.dtype) + bias).softmax(-1) * found
        return Read(weights.to(values.dtype) @ values, weights, places.expand(weights.shape))

    return read


def in_sight(entries: Entries) -> Entries:
    """The entries without the empty places at the end, on CPU, where looking at the data costs nothing.

    One place at least is left. On another device, and in compiled code, the entries as they are.
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
