"""Attention of a few queries over many entries in one pass over memory: a Triton kernel.

The entries are split among programs, as in Flash-Decoding (Dao et al. 2023,
https://pytorch.org/blog/flash-decoding/). Each reads its keys and values once, and leaves a maximum, a sum
and a weighted sum of values for each query, which are then combined. The reference is ``read_attention``.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_QUERIES = 64
"""Most queries that one program answers."""

PROGRAMS = 512
"""Number of programs that the entries are split among, a few for each multiprocessor of a large GPU."""


@triton.jit  # type: ignore[untyped-decorator]
def _partial_reads(
    query_ptr: Any,
    key_ptr: Any,
    value_ptr: Any,
    presence_ptr: Any,
    maximum_ptr: Any,
    sum_ptr: Any,
    output_ptr: Any,
    entries: Any,
    queries: Any,
    split: Any,
    splits: Any,
    key_size: Any,
    value_size: Any,
    cosine: tl.constexpr,
    precision: tl.constexpr,
    block_q: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    block_v: tl.constexpr,
) -> None:
    """Attend to entries ``split · s`` up to ``split · (s + 1)`` of one store."""
    store, part, block = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    q = block * block_q + tl.arange(0, block_q)
    k, v = tl.arange(0, block_k), tl.arange(0, block_v)
    query_at = (store * queries + q[:, None]) * key_size + k[None, :]
    query = tl.load(query_ptr + query_at, mask=(q[:, None] < queries) & (k[None, :] < key_size), other=0.0)
    highest = tl.full((block_q,), -1.0e30, tl.float32)
    total = tl.zeros((block_q,), tl.float32)
    weighted = tl.zeros((block_q, block_v), tl.float32)
    for first in range(0, split, block_n):
        n = part * split + first + tl.arange(0, block_n)
        there = (n < entries) & (first + tl.arange(0, block_n) < split)
        presence = tl.load(presence_ptr + store * entries + n, mask=there, other=0.0).to(tl.float32)
        present = presence > 0
        # Empty slots are not even loaded, so their bits do not matter.
        row = store * entries + n
        key_at = row[:, None] * key_size + k[None, :]
        key = tl.load(key_ptr + key_at, mask=present[:, None] & (k[None, :] < key_size), other=0.0)
        value_at = row[:, None] * value_size + v[None, :]
        value = tl.load(value_ptr + value_at, mask=present[:, None] & (v[None, :] < value_size), other=0.0)
        score = tl.dot(query, tl.trans(key), input_precision=precision).to(tl.float32)  # (q, n)
        if cosine:
            wide = key.to(tl.float32)
            norm = tl.sqrt(tl.sum(wide * wide, 1))
            score = score / tl.maximum(norm, 1e-12)[None, :]
        score = score + tl.log(tl.where(present, presence, 1.0))[None, :]
        score = tl.where(present[None, :], score, float("-inf"))
        now = tl.maximum(highest, tl.max(score, 1))
        weight = tl.exp(score - now[:, None])
        rescale = tl.exp(highest - now)
        total = total * rescale + tl.sum(weight, 1)
        product = tl.dot(weight.to(value.dtype), value, input_precision=precision)
        weighted = weighted * rescale[:, None] + product.to(tl.float32)
        highest = now
    at = (store * splits + part) * queries + q
    tl.store(maximum_ptr + at, highest, mask=q < queries)
    tl.store(sum_ptr + at, total, mask=q < queries)
    output_at = at[:, None] * value_size + v[None, :]
    tl.store(output_ptr + output_at, weighted, mask=(q[:, None] < queries) & (v[None, :] < value_size))


def read_kernel(query: Tensor, keys: Tensor, values: Tensor, presence: Tensor, cosine: bool) -> Tensor:
    """Attend with weights ∝ presence · exp(query · key), without a gradient.

    Args:
        query: ``(…, Q, K)``, already scaled, and normalised for the cosine.
        keys: ``(…, N, K)``.
        values: ``(…, N, V)``.
        presence: ``(…, N)`` in [0, 1]; the bits of entries without presence do not matter.
        cosine: Divide the scores by the norms of the keys.

    Returns:
        ``(…, Q, V)`` in the dtype of ``values``; zero where nothing is present.
    """
    *batch, queries, key_size = query.shape
    entries, value_size = values.shape[-2:]
    stores = torch.Size(batch).numel()
    query, keys, values, presence = (rows.contiguous() for rows in (query, keys, values, presence))
    block_q = max(16, min(BLOCK_QUERIES, triton.next_power_of_2(queries)))
    block_n = 64
    blocks = triton.cdiv(queries, block_q)
    splits = max(1, min(triton.cdiv(entries, block_n), PROGRAMS // max(1, stores * blocks)))
    split = triton.cdiv(triton.cdiv(entries, splits), block_n) * block_n
    splits = max(1, triton.cdiv(entries, split)) if entries else 1
    maximum = query.new_empty(stores, splits, queries, dtype=torch.float32)
    total = torch.empty_like(maximum)
    weighted = query.new_empty(stores, splits, queries, value_size, dtype=torch.float32)
    exact = keys.dtype == torch.float32 and not torch.backends.cuda.matmul.allow_tf32
    _partial_reads[(stores, splits, blocks)](
        query,
        keys,
        values,
        presence,
        maximum,
        total,
        weighted,
        entries,
        queries,
        split,
        splits,
        key_size,
        value_size,
        cosine=cosine,
        precision="ieee" if exact else "tf32",
        block_q=block_q,
        block_n=block_n,
        block_k=max(16, triton.next_power_of_2(key_size)),
        block_v=max(16, triton.next_power_of_2(value_size)),
    )
    rescale = (maximum - maximum.amax(1, keepdim=True)).exp()  # (stores, splits, Q)
    total = (total * rescale).sum(1).clamp_min(torch.finfo(torch.float32).tiny)
    output: Tensor = (weighted * rescale.unsqueeze(-1)).sum(1) / total.unsqueeze(-1)
    return output.reshape(*batch, queries, value_size).to(values.dtype)
