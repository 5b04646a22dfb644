"""Attention of a few queries over many entries, in one pass and without weights."""

import math
from functools import cache
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_KERNEL_WIDTH = 256
"""Widest keys and values of which a block fits into the registers of a program."""


def read_attention(query: Tensor, keys: Tensor, values: Tensor, presence: Tensor) -> Tensor:
    """Attend with weights ∝ presence · exp(query · key) over N entries, of finite keys and values.

    Args:
        query: ``(…, Q, K)``, already scaled.
        keys: ``(…, N, K)``.
        values: ``(…, N, V)``.
        presence: ``(…, N)`` in [0, 1].

    Returns:
        ``(…, Q, V)`` in the dtype of ``values``; zero where nothing is present.

    Example:
        >>> values = torch.tensor([[1.0], [2.0], [9.0]])
        >>> read_attention(torch.zeros(1, 1), torch.zeros(3, 1), values, torch.tensor([1.0, 1.0, 0.0]))
        tensor([[1.5000]])
    """
    dtype, width = values.dtype, values.shape[-1]
    *batch, queries, _ = query.shape
    stores = math.prod(batch)
    size = max(query.shape[-1], width)  # the fused kernels take one width
    # (…, n, size) → (batch, one head, n, size)
    query, keys, values = (
        pad_width(rows, size).reshape(stores, 1, rows.shape[-2], size)
        for rows in (query, keys, values.to(query.dtype))
    )
    bias = finite_log(presence, query.dtype).reshape(stores, 1, 1, keys.shape[-2])
    output = F.scaled_dot_product_attention(query, keys, values, bias, scale=1.0)
    found = (presence > 0).any(-1)[..., None, None]
    return output[..., :width].reshape(*batch, queries, width).to(dtype).masked_fill(~found, 0)


def finite_log(presence: Tensor, dtype: torch.dtype) -> Tensor:
    """Log of presence, and where there is none a number so low that its exponential is zero."""
    lowest = -torch.finfo(dtype).max / 4
    present = presence > 0
    return torch.where(present, presence, 1).log().masked_fill(~present, lowest).to(dtype)


def pad_width(rows: Tensor, size: int) -> Tensor:
    """Append zeros to rows ``(…, D)`` up to width ``size``; no copy where there is nothing to append."""
    return rows if rows.shape[-1] == size else F.pad(rows, (0, size - rows.shape[-1]))


def kernel_fits(query: Tensor, keys: Tensor, values: Tensor) -> bool:
    """Whether ``read_kernel`` can read: on a GPU with Triton, without a gradient or a graph."""
    return (
        query.is_cuda
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and query.dtype == keys.dtype == values.dtype
        and query.dtype in (torch.float32, torch.bfloat16, torch.float16)
        and max(query.shape[-1], values.shape[-1]) <= MAX_KERNEL_WIDTH
        and query.numel() > 0
        and _has_triton()
    )


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None
