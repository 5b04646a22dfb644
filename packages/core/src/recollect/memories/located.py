"""Writes that say where they went."""

from typing import Any

import torch
from torch import Tensor

from recollect.storages.base import Storage


def write_located(
    storage: Storage, state: Any, key: Tensor, value: Tensor, mask: Tensor
) -> tuple[Any, Tensor]:
    """Write one entry and find the slot that it went to.

    A storage with entries chooses a slot by keys and by what it holds, never by the value, so a mark written
    first to a state that is then thrown away shows the place.

    Args:
        storage: One with ``entries``.
        state: Its state.
        key: ``(…, 1, K)``.
        value: ``(…, 1, V)``.
        mask: ``(…, 1)`` bool.

    Returns:
        The new state, and the slot ``(…, 1)`` int64, −1 where nothing was written.
    """
    with torch.no_grad():
        marked = storage.entries(storage.write(state, key, torch.full_like(value, torch.nan), mask=mask))
        here = marked.values.isnan().any(-1)
    slot = torch.where(here.any(-1, keepdim=True), here.long().argmax(-1, keepdim=True), -1)
    return storage.write(state, key, value, mask=mask), slot
