"""What the linked storages share: entries in an order that can be followed and inserted into."""

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor

from recollect.state import S
from recollect.storages.arguments import check_positive
from recollect.storages.base import Storage
from recollect.storages.results import Read
from recollect.storages.slots import check_indices, check_slots, made

Direction = Literal["forward", "backward"]


class Links(Storage[S]):
    """Entries that stand in an order: each is linked to the one written before it.

    A write goes to a free slot, or, when there is none, over the least recently used entry (never over the
    one that ``after`` names, unless it is the only one), which is unlinked first. The new entry is linked
    after the last, or after a given one, in front of what followed that. Erasing an entry joins its
    neighbours.

    A subclass implements ``_link`` and ``_follow`` besides the verbs of ``Storage``; arguments reach it
    checked and blanked.

    Args:
        key_size: Width K of keys and queries.
        value_size: Width V of values.
        slots: Number N of entries at most.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, key_size: int, value_size: int, slots: int) -> None:
        super().__init__(key_size, value_size)
        check_positive(slots=slots)
        self.slots = slots

    @abstractmethod
    def _link(
        self,
        state: S,
        key: Tensor,
        value: Tensor,
        strength: Tensor,
        mask: Tensor,
        after: Tensor,
        inplace: bool,
    ) -> tuple[S, Tensor]:
        """Write W entries in order, and say to which slots (…, W); see ``Storage._place``.

        ``after`` (…, W) is −1 for "after the last" and wherever masked. Also where it names a free slot, the
        entry is linked after the last.
        """

    @abstractmethod
    def _follow(self, state: S, weights: Tensor, slots: Tensor | None, direction: Direction) -> Read:
        """Move weights (…, Q, k) over entries ``slots`` (all if ``None``) one link on or back."""

    def write(
        self,
        state: S,
        key: Tensor,
        value: Tensor,
        strength: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        after: Tensor | None = None,
        inplace: bool = False,
    ) -> S:
        """Write W entries in order; the result is that of W single writes.

        Args:
            state: What to write to; unchanged, unless ``inplace``.
            key: ``(…, W, K)``.
            value: ``(…, W, V)``.
            strength: ``(…, W)`` in [0, 1], the presence that each entry gets, and how firmly it is linked;
                1 by default.
            mask: ``(…, W)`` bool; an entry where it is false is not written at all.
            after: ``(…, W)`` int64 below N, the slot of the entry to link each after; −1, or a slot that is
                free by then, means after the last. All after the last by default.
            inplace: Reuse the memory of ``state``, which must not be used afterwards. Outside autograd only.

        Raises:
            ValueError: If a shape does not fit, or ``after`` names a slot that is none.
            RuntimeError: If ``inplace`` is asked for while gradients are recorded.
        """
        return self.place(state, key, value, strength, mask, after=after, inplace=inplace)[0]

    def place(
        self,
        state: S,
        key: Tensor,
        value: Tensor,
        strength: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        after: Tensor | None = None,
        inplace: bool = False,
    ) -> tuple[S, Tensor]:
        """Write as ``write`` does, with the same arguments, and say where; see ``Storage.place``."""
        rows = self._rows(state, key, value, strength, mask, inplace)
        *_, strength, mask = rows
        if after is None:
            after = torch.full_like(mask, -1, dtype=torch.int64)
        after = check_indices(after, "after", mask.shape).masked_fill(~mask, -1)
        check_slots(after.clamp_min(0), self.slots)
        state, slots = self._link(state, *rows, after, inplace)
        return state, made(slots, strength, mask)

    def _write(
        self, state: S, key: Tensor, value: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> S:
        after = torch.full_like(mask, -1, dtype=torch.int64)
        return self._link(state, key, value, strength, mask, after, inplace)[0]

    def follow(self, state: S, read: Read, direction: Direction = "forward") -> Read:
        """Read along the links: what comes after, or before, the entries that ``read`` looked at.

        Args:
            state: What to read.
            read: An earlier read of this storage, by content or along the links.
            direction: ``"forward"`` to what was linked after, ``"backward"`` to what it was linked after.

        Returns:
            The entries one link on, weighed by the weights of ``read`` and the strength of the links: no
            weight is left where nothing follows.

        Raises:
            ValueError: If ``direction`` is neither, or ``read`` has no weights.
        """
        if direction not in ("forward", "backward"):
            raise ValueError(f'direction must be "forward" or "backward", got {direction!r}')
        if read.weights is None:
            raise ValueError("this read has no weights: it did not come from a storage with entries")
        return self._follow(state, read.weights, read.slots, direction)

    def touch(self, state: S, read: Read) -> S:
        """Count a read as use: the entry that each query weighed most becomes the most recently used."""
        raise NotImplementedError(
            f"{type(self).__name__} does not count reads as use; write the entry again instead"
        )

    def extra_repr(self) -> str:
        """The sizes, for ``print``."""
        return f"{super().extra_repr()}, slots={self.slots}"
