"""Reads of a ``VectorStorage``: with weights, in one fused pass, or by a kernel."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recollect.ops.attention import attention_weights, dot_scores, l2_normalize, similarity
from recollect.ops.inspection import can_inspect
from recollect.ops.products import product
from recollect.ops.read_attention import read_attention
from recollect.state import Entries, Read
from recollect.storages.vector_scan import scale_scores
from recollect.storages.vector_state import VectorState

if TYPE_CHECKING:
    from recollect.storages.vector import VectorStorage


def may_skip_clearing(query: Tensor) -> bool:
    """Whether a NaN in an empty slot would show in what is read, and nowhere else.

    Clearing the empty slots first would cost more than the read.
    """
    return can_inspect(query) and not torch.is_grad_enabled()


def attend(storage: "VectorStorage", query: Tensor, entries: Entries) -> Read:
    """Read with weights.

    Args:
        storage: Its similarity, sharpness and ``top_k`` count.
        query: ``(…, Q, K)``.
        entries: The entries to read.
    """
    keys, values, presence = entries.keys.to(query.dtype), entries.values, entries.filled.unsqueeze(-2)
    if storage.similarity == "dot":
        scores, scale = dot_scores(query, keys)
    else:
        scores, scale = similarity(query, keys, "cosine"), None
    scores = scores * storage.log_sharpness.exp()
    if storage.top_k is None:
        weights = attention_weights(scores, presence, scale)
        return Read(product(weights.to(values.dtype), values), weights, None)
    rest = presence.float().log() if scale is None else presence.float().log() / scale.float()
    slots = (scores.float() + rest).detach().topk(storage.top_k, -1).indices  # (…, Q, k)
    present = presence.expand_as(scores).gather(-1, slots)
    weights = attention_weights(scores.gather(-1, slots), present, scale)
    rows = slots.flatten(-2).unsqueeze(-1)  # (…, Q·k, 1)
    picked = torch.take_along_dim(values, rows, -2).reshape(*slots.shape, storage.value_size)
    return Read((weights.to(values.dtype).unsqueeze(-2) @ picked).squeeze(-2), weights, slots)


def attend_fused(storage: "VectorStorage", query: Tensor, entries: Entries) -> Tensor:
    """Read values ``(…, Q, V)`` without weights, in one pass."""
    query, keys = scale_scores(storage, query, entries.keys.to(query.dtype))
    return read_attention(query, keys, entries.values, entries.filled)


def attend_in_kernel(storage: "VectorStorage", query: Tensor, state: VectorState) -> Tensor:
    """Read values ``(…, Q, V)`` on a GPU; see ``kernel_fits``. Empty slots are not even loaded."""
    from recollect.ops.read_kernel import read_kernel  # Triton is only there where CUDA is

    cosine = storage.similarity == "cosine"
    scaled = (l2_normalize(query) if cosine else query) * storage.log_sharpness.exp().to(query.dtype)
    return read_kernel(scaled, state.keys, state.values, state.presence, cosine)
