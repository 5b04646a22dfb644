"""Causal attention over a sliding window, with a bias on each key."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from recollect.ops.read_attention import finite_log, pad_width

QUERY_BLOCK = 128
"""Queries that attend together: each block computes up to this many products too many per query."""


def window_attention(
    query: Tensor, keys: Tensor, values: Tensor, window: int, presence: Tensor | None = None
) -> Tensor:
    """Attend with weights ∝ presence · exp(query · key) to the last ``window`` keys of each query.

    The last of T queries sees the last of M keys, the one before sees up to the key before, and so on: query
    t sees the keys j with t + M − T − window < j ≤ t + M − T. Time and memory grow with T · window and with
    T + M.

    Args:
        query: ``(…, T, K)``, already scaled.
        keys: ``(…, M, K)``, at least T.
        values: ``(…, M, V)``.
        window: Number of keys that a query sees at most.
        presence: ``(…, M)`` in [0, 1]; 1 by default.

    Returns:
        ``(…, T, V)``; zero where nothing is present.

    Example:
        >>> values = torch.tensor([[1.0], [2.0], [3.0]])
        >>> window_attention(torch.zeros(3, 1), torch.zeros(3, 1), values, window=2)
        tensor([[1.0000],
                [1.5000],
                [2.5000]])
    """
    if presence is None:
        return _window_attention(query, keys, values, window)
    found = _any_in_window(presence > 0, query.shape[-2], window)
    biased = (
        _append(keys, finite_log(presence, keys.dtype)),
        _append(query, query.new_ones(query.shape[:-1])),
    )
    output = _window_attention(biased[1], biased[0], values, window)
    return output.masked_fill(~found.unsqueeze(-1), 0)


def _window_attention(query: Tensor, keys: Tensor, values: Tensor, window: int) -> Tensor:
    *batch, steps, _ = query.shape
    before, width = keys.shape[-2] - steps, values.shape[-1]
    # The fused kernels take one width, and four axes: (batch, one head, rows, width).
    size = max(width, query.shape[-1])
    query, keys, values = (
        pad_width(rows, size).reshape(math.prod(batch), 1, rows.shape[-2], size)
        for rows in (query, keys, values)
    )
    outputs, start = [query[..., :0, :]], 0
    if not before:  # until the window is full, it is causal attention
        start = min(window, steps)
        outputs.append(
            F.scaled_dot_product_attention(
                query[..., :start, :], keys[..., :start, :], values[..., :start, :], is_causal=True, scale=1.0
            )
        )
    masks: dict[tuple[int, int, int], Tensor] = {}  # most blocks share one, also in what autograd saves
    for first in range(start, steps, QUERY_BLOCK):
        last = min(first + QUERY_BLOCK, steps)
        seen = slice(max(0, first + before + 1 - window), last + before)
        band = last - first, seen.stop - seen.start, first + before - seen.start
        if band not in masks:
            masks[band] = _band_mask(*band, window, query)
        outputs.append(
            F.scaled_dot_product_attention(
                query[..., first:last, :], keys[..., seen, :], values[..., seen, :], masks[band], scale=1.0
            )
        )
    return torch.cat(outputs[1:] or outputs, -2).reshape(*batch, steps, size)[..., :width]


def _band_mask(queries: int, keys: int, offset: int, window: int, like: Tensor) -> Tensor:
    """Zero where query i sees key j, i + offset − window < j ≤ i + offset, else −∞: ``(queries, keys)``."""
    last = torch.arange(offset, offset + queries, device=like.device).unsqueeze(-1)
    key = torch.arange(keys, device=like.device)
    hidden = (key > last) | (key <= last - window)
    return like.new_zeros(queries, keys).masked_fill(hidden, -torch.inf)


def _any_in_window(present: Tensor, steps: int, window: int) -> Tensor:
    """Whether any of the keys ``(…, M)`` that each of the last T queries sees is present, ``(…, T)``."""
    count = F.pad(present.cumsum(-1), (window, 0))  # count[j + window] counts the keys up to j
    length = count.shape[-1]
    return count[..., length - steps :] > count[..., length - steps - window : length - window]


def _append(rows: Tensor, column: Tensor) -> Tensor:
    """Append a column ``(…, n)`` to rows ``(…, n, D)``."""
    return torch.cat([rows, column.unsqueeze(-1)], -1)
