"""Storages that keep entries apart: each has a slot, by which it can be named, changed and erased."""

from abc import abstractmethod

import torch
from torch import Tensor

from recollect.ops.distance import Metric, check_metric
from recollect.ops.indexing import mask_slots
from recollect.ops.masking import apply_mask, full_mask
from recollect.ops.sharing import fold_readers, unfold_readers
from recollect.state import Entries, S
from recollect.storages.base import Storage
from recollect.storages.neighbors import Neighbors, nearest_entries, unfold_neighbors
from recollect.validation import (
    check_indices,
    check_inplace,
    check_positive,
    check_slots,
    check_weights,
    finite_rows,
)


class SlotStorage(Storage[S]):
    """A storage with N slots, each of which holds at most one entry.

    Memories that need entries one by one, to cite, count or forget them, say so by asking for this type.
    """

    # --- to be implemented by a subclass --------------------------------------------------------------------

    @property
    @abstractmethod
    def capacity(self) -> int:
        """Number N of entries at most."""

    @abstractmethod
    def entries(self, state: S) -> Entries:
        """Return all N slots; keys and values of free slots are zero."""

    @abstractmethod
    def _place(
        self, state: S, key: Tensor, value: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> tuple[S, Tensor]:
        """Write as ``_write`` does, and return the slots ``(…, W)``, arbitrary where no entry was made."""

    @abstractmethod
    def _update(self, state: S, slots: Tensor, value: Tensor, mask: Tensor, inplace: bool) -> S:
        """Replace the values of entries by slot; masked ones have slot zero."""

    @abstractmethod
    def _erase_slots(self, state: S, slots: Tensor, mask: Tensor, inplace: bool) -> S:
        """Erase entries by slot, completely; masked ones have slot zero, and slots may repeat."""

    @abstractmethod
    def _write_at(self, state: S, weights: Tensor, kept: Tensor, added: Tensor) -> S:
        """Change values M, zero where free, to ``kept`` ⊙ M + ``added``, both ``(…, N, V)``.

        ``weights`` are those of ``write_at``.
        """

    def _write(
        self, state: S, key: Tensor, value: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> S:
        return self._place(state, key, value, strength, mask, inplace)[0]

    def _neighbors(self, state: S, query: Tensor, k: int, metric: Metric) -> Neighbors:
        """Search for the entries nearest to a query; overridden where not all of them are searched."""
        return nearest_entries(query, self.entries(state), k, metric)

    # --- by slot --------------------------------------------------------------------------------------------

    def neighbors(self, state: S, query: Tensor, k: int, metric: Metric = "l2") -> Neighbors:
        """Return the k entries nearest to each query, nearest first.

        Args:
            state: The state to search; shared if it has fewer batch axes than ``query``.
            query: ``(…, Q, K)``.
            k: Number of entries for each query.
            metric: ``"l2"`` for ‖q − k‖², ``"cosine"`` for 1 − cos(q, k), ``"dot"`` for −q · k.

        Raises:
            ValueError: If a shape is wrong, k is not positive or the metric is unknown.

        Example:
            >>> from recollect import VectorStorage
            >>> storage = VectorStorage(1, 1, slots=3)
            >>> keys = torch.tensor([[0.0], [5.0], [1.0]])
            >>> state = storage.write(storage.initial_state(), keys, 10 * keys)
            >>> storage.neighbors(state, torch.tensor([[0.9]]), k=2).values.flatten()
            tensor([10.,  0.])
        """
        check_positive(k=k)
        check_metric(metric)
        readers, count = query.shape[:-2], query.shape[-2]
        extra = self._check_rows(state, query, "query", self.key_size, None)
        found = self._neighbors(state, fold_readers(query, extra, -2), k, metric)
        return unfold_neighbors(found, readers[:extra], count) if extra else found

    def place(
        self,
        state: S,
        key: Tensor,
        value: Tensor,
        strength: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        inplace: bool = False,
    ) -> tuple[S, Tensor]:
        """Write as ``write`` does, with the same arguments, and return the slots.

        Returns:
            The new state, and slots ``(…, W)`` int64. The slot is −1 where no entry was made, because it was
            masked, not finite or of strength zero. If one of the W overwrites another, both name the same
            slot.
        """
        readers, count = key.shape[:-2], key.shape[-2]
        state, rows, extra = self._check_entries(state, key, value, strength, mask, inplace)
        state, slots = self._place(state, *rows, inplace)
        slots = mask_slots(slots, rows.strength, rows.mask)
        return state, unfold_readers(slots, readers[:extra], count, -1) if extra else slots

    def update(
        self, state: S, slots: Tensor, value: Tensor, mask: Tensor | None = None, *, inplace: bool = False
    ) -> S:
        """Replace the values of entries by slot; keys, presence and free slots stay as they are.

        Args:
            state: The state to update; unchanged, unless ``inplace``.
            slots: ``(…, U)`` int64; the last update of a slot wins.
            value: ``(…, U, V)``.
            mask: ``(…, U)`` bool; an update where it is false does nothing.
            inplace: As in ``write``.

        Raises:
            ValueError: If a shape is wrong, a slot is out of range, or (on CPU) a value is not finite.
            RuntimeError: If ``inplace`` is set while gradients are recorded.
        """
        check_inplace(inplace)
        extra = self._check_rows(state, value, "value", self.value_size, mask)
        mask = full_mask(value, mask)
        slots = self._check_slots(slots, mask)
        value = fold_readers(apply_mask(value, mask), extra, -2)
        slots, mask = fold_readers(slots, extra, -1), fold_readers(mask, extra, -1)
        mask, rejected = finite_rows(mask, value=value)
        if rejected is not None:
            state, value = self._reject(state, rejected), apply_mask(value, mask)
        return self._update(state, slots, value, mask, inplace)

    def erase_slots(self, state: S, slots: Tensor, mask: Tensor | None = None, *, inplace: bool = False) -> S:
        """Erase entries by slot, completely and no other. A free slot stays free.

        Args:
            state: The state to erase from; unchanged, unless ``inplace``.
            slots: ``(…, E)`` int64, as ``place`` returns them or ``Read.slots`` names them.
            mask: ``(…, E)`` bool; a slot where it is false is not erased.
            inplace: As in ``write``.

        Raises:
            ValueError: If a shape is wrong or a slot is out of range.
            RuntimeError: If ``inplace`` is set while gradients are recorded.

        Example:
            >>> from recollect import VectorStorage
            >>> storage = VectorStorage(2, 1, slots=3)
            >>> state, slots = storage.place(storage.initial_state(), torch.eye(2), torch.ones(2, 1))
            >>> storage.erase_slots(state, slots[:1]).presence
            tensor([0., 1., 0.])
        """
        check_inplace(inplace)
        # As rows of width 0, so that one check serves all.
        rows = slots.unsqueeze(-1)[..., :0]
        extra = self._check_rows(state, rows, "slots", 0, mask)
        mask = full_mask(rows, mask)
        slots = fold_readers(self._check_slots(slots, mask), extra, -1)
        return self._erase_slots(state, slots, fold_readers(mask, extra, -1), inplace)

    def write_at(self, state: S, weights: Tensor, value: Tensor, erase: Tensor | None = None) -> S:
        """Write softly over all slots, as the heads of a Neural Turing Machine do.

        M ← M ⊙ Π_h (1 − w_h e_hᵀ) + Σ_h w_h v_hᵀ over the values M (Graves et al. 2014, arXiv:1410.5401,
        eq. 3 and 4, where all heads erase before any of them adds). Keys stay as they are. Where a storage
        finds entries by search over all slots, a free slot becomes present: 1 − p ← (1 − p) Π_h (1 − w_h).
        Where it finds them by their keys' hash, free slots stay free.

        Args:
            state: The state to write to.
            weights: ``(…, H, N)`` in [0, 1], one row per head.
            value: ``(…, H, V)``, what each head adds.
            erase: ``(…, H, V)`` in [0, 1], what each head erases; 1 by default.

        Raises:
            ValueError: If a shape is wrong, weights or erase are out of range, or (on CPU) a row is not
                finite.

        Example:
            >>> from recollect import VectorStorage
            >>> storage = VectorStorage(2, 1, slots=3)
            >>> weights = torch.tensor([[0.75, 0.25, 0.0]])
            >>> storage.write_at(storage.initial_state(), weights, torch.tensor([[4.0]])).values
            tensor([[3.],
                    [1.],
                    [0.]])
        """
        extra = self._check_rows(state, value, "value", self.value_size, None)
        if self._check_rows(state, weights, "weights", self.capacity, None) != extra:
            raise ValueError(
                f"weights {tuple(weights.shape)} and value {tuple(value.shape)} do not go together"
            )
        erase = torch.ones_like(value) if erase is None else erase
        check_weights(value, weights=weights, erase=erase)
        weights, value, erase = (fold_readers(rows, extra, -2) for rows in (weights, value, erase))
        mask, rejected = finite_rows(full_mask(value, None), weights=weights, value=value, erase=erase)
        if rejected is not None:
            state = self._reject(state, rejected)
            weights, value, erase = (apply_mask(rows, mask) for rows in (weights, value, erase))
        kept = (1 - weights.unsqueeze(-1) * erase.unsqueeze(-2)).prod(-3)  # (…, H, N, V) → (…, N, V)
        return self._write_at(state, weights, kept, weights.mT @ value)

    def _check_slots(self, slots: Tensor, mask: Tensor) -> Tensor:
        """Check slots, and set those that are masked to zero."""
        slots = check_indices(slots, "slots", mask.shape).masked_fill(~mask, 0)
        check_slots(slots, self.capacity)
        return slots


def capacity(storage: Storage) -> int | None:
    """Return the number of entries that a storage keeps apart; ``None`` if it keeps none apart.

    Example:
        >>> from recollect import VectorStorage
        >>> capacity(VectorStorage(8, 8, slots=4))
        4
    """
    return storage.capacity if isinstance(storage, SlotStorage) else None
