"""Rows as a Milvus server keeps them: numbers, a text and two vectors."""

import hashlib
import time
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from recollect.storages.engine_input import NewRows


def encode_rows(rows: NewRows, first: int, value_width: int) -> list[dict[str, Any]]:
    """Return rows with the numbers from ``first`` on, written now, for a field of values of a given width."""
    now = time.time()
    keys, values = rows.keys.numpy(), pad(rows.values, (0, value_width - rows.values.shape[1])).numpy()
    return [
        {
            "row": first + n,
            "space": space,
            "source": source,
            "source_hash": source_hash(source),
            "time": now,
            "key": keys[n],
            "value": values[n],
        }
        for n, (source, space) in enumerate(zip(rows.sources, rows.spaces.tolist(), strict=True))
    ]


def decode_vectors(rows: Iterable[Mapping[str, Any]], field: str, size: int) -> Tensor:
    """Return the vectors of a field of rows: ``(n, size)`` float32."""
    return torch.tensor([row[field] for row in rows], dtype=torch.float32, device="cpu")[:, :size]


def source_hash(source: str) -> int:
    """Return a number of 63 bits that stands for a source in filters, which so hold no text.

    Example:
        >>> source_hash("ticket-4711") == source_hash("ticket-4711") != source_hash("ticket-4712")
        True
    """
    return int(hashlib.blake2b(source.encode(), digest_size=8).hexdigest(), 16) >> 1
