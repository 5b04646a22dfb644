"""The base class of storages whose entries stand in an order that can be followed and inserted into."""

from abc import abstractmethod
from typing import Literal

from torch import Tensor

from recollect.ops.indexing import mask_slots
from recollect.ops.sharing import fold_readers, unfold_read, unfold_readers
from recollect.state import Read, S
from recollect.storages.slot import SlotStorage
from recollect.validation import check_indices, check_positive, check_slots

Direction = Literal["forward", "backward"]


class OrderedStorage(SlotStorage[S]):
    """Entries in an order: each is linked after the one written before it.

    A write goes to a free slot, or else overwrites the least recently used entry, which is removed from the
    order first. The entry that ``after`` names is only overwritten if it is the only one. The new entry is
    inserted at the end, or after a given entry. Erasing an entry joins its neighbours.

    Subclasses implement ``_insert`` and ``_follow`` besides the methods of ``Storage``.

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
    def _insert(
        self,
        state: S,
        key: Tensor,
        value: Tensor,
        strength: Tensor,
        mask: Tensor,
        after: Tensor | None,
        inplace: bool,
    ) -> tuple[S, Tensor]:
        """Write W entries in order, and return their slots ``(…, W)``; see ``Storage._place``.

        ``after`` ``(…, W)`` is −1 for "at the end" and wherever masked; ``None`` if all go to the end. An
        entry whose ``after`` names a free slot goes to the end, too.
        """

    @abstractmethod
    def _follow(self, state: S, weights: Tensor, slots: Tensor | None, direction: Direction) -> Read:
        """Move weights ``(…, Q, k)`` over entries ``slots`` (all if ``None``) one link on or back."""

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
        """Write W entries in order; the result equals that of W single writes.

        Args:
            state: The state to write to; unchanged, unless ``inplace``.
            key: ``(…, W, K)``.
            value: ``(…, W, V)``.
            strength: ``(…, W)`` in [0, 1], the presence of each entry and the weight of its link; 1 by
                default.
            mask: ``(…, W)`` bool; an entry where it is false is not written.
            after: ``(…, W)`` int64 below N, the slot of the entry to insert each one after. −1, or a slot
                that is free by then, inserts at the end, which is the default.
            inplace: Reuse the memory of ``state``, which must not be used afterwards. Outside autograd only.

        Raises:
            ValueError: If a shape is wrong or ``after`` names no slot.
            RuntimeError: If ``inplace`` is set while gradients are recorded.
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
        """Write as ``write`` does, with the same arguments, and return the slots; see ``Storage.place``."""
        readers, count = key.shape[:-2], key.shape[-2]
        state, rows, extra = self._check_entries(state, key, value, strength, mask, inplace)
        if after is not None:
            after = fold_readers(check_indices(after, "after", key.shape[:-1]), extra, -1)
            after = after.masked_fill(~rows.mask, -1)
            check_slots(after.clamp_min(0), self.slots)
        state, slots = self._insert(state, *rows, after, inplace)
        slots = mask_slots(slots, rows.strength, rows.mask)
        return state, unfold_readers(slots, readers[:extra], count, -1) if extra else slots

    def _place(
        self, state: S, key: Tensor, value: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> tuple[S, Tensor]:
        return self._insert(state, key, value, strength, mask, None, inplace)

    def follow(self, state: S, read: Read, direction: Direction = "forward") -> Read:
        """Read along the links: the entries after, or before, those that ``read`` attended to.

        Args:
            state: The state to read.
            read: An earlier read of this storage, by content or along links.
            direction: ``"forward"`` or ``"backward"``.

        Returns:
            The entries one link on, weighted by the weights of ``read`` and of the links; the weight is zero
            where nothing follows.

        Raises:
            ValueError: If ``direction`` is unknown or ``read`` has no weights.
        """
        if direction not in ("forward", "backward"):
            raise ValueError(f'direction must be "forward" or "backward", got {direction!r}')
        if read.weights is None:
            raise ValueError("this read has no weights: it did not come from a storage with entries")
        axes = read.weights.dim() - 2 - len(self._batch_axes(state))
        if not axes:
            return self.report_read(state, self._follow(state, read.weights, read.slots, direction))
        weights, slots = (row if row is None else fold_readers(row, axes, -2) for row in read[1:])
        assert weights is not None
        moved = self._follow(state, weights, slots, direction)
        return self.report_read(state, unfold_read(moved, read.weights.shape[:axes], read.weights.shape[-2]))

    @property
    def capacity(self) -> int:
        """Number N of slots."""
        return self.slots

    def extra_repr(self) -> str:
        """The sizes, for ``repr``."""
        return f"{super().extra_repr()}, slots={self.slots}"
