"""The contract of every storage: read, write, erase, by content, by place and over time."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic

import torch
from torch import Tensor, nn

from recollect.state import S, first_tensor, select_items, where_items
from recollect.storages.arguments import (
    blank,
    check_batch,
    check_inplace,
    check_positive,
    check_rows,
    check_steps,
    check_strength,
)
from recollect.storages.results import Entries, Read
from recollect.storages.slots import check_indices, check_slots, made


class Storage(nn.Module, ABC, Generic[S]):
    """A data structure that can be read, written and erased by content, with gradients.

    Its state is a value: a named tuple of tensors, batch axes first. No method changes the state it is given,
    and none keeps a hidden one. Each entry has a presence in [0, 1]; a read weighs it by presence ·
    exp(similarity), ``write`` sets presence to its strength, ``erase`` multiplies it by 1 − strength · match.

    The public verbs check shapes, blank out what is masked (not even a NaN in the padding gets through) and
    fill in defaults; a subclass implements the verbs with a leading underscore and may rely on that.

    Args:
        key_size: Width K of keys and queries.
        value_size: Width V of values.

    Raises:
        ValueError: If a size is not positive.
    """

    integer_keys = False
    """Whether keys are integers (identities) rather than real vectors."""

    _like: Tensor

    def __init__(self, key_size: int, value_size: int) -> None:
        super().__init__()
        check_positive(key_size=key_size, value_size=value_size)
        self.key_size = key_size
        self.value_size = value_size
        self._state_axes: int | None = None  # of the first tensor of a state without batch axes
        # Follows .to(…): where a state lives and what it is made of when nobody says otherwise.
        self.register_buffer("_like", torch.empty(0), persistent=False)

    # --- what a subclass implements -------------------------------------------------------------------------

    @abstractmethod
    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> S:
        """An empty state for batch axes ``batch`` (none for a single, unbatched store).

        It lives on the module's own device, with keys and values of the module's own dtype, by default.
        """

    @abstractmethod
    def _read(self, state: S, query: Tensor) -> Read:
        """Read by content; the base class zeroes what is masked."""

    @abstractmethod
    def _write(
        self, state: S, key: Tensor, value: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> S:
        """Write W entries in order, as if one by one; ``_place(…)[0]`` where there are entries."""

    @abstractmethod
    def _erase(self, state: S, key: Tensor, strength: Tensor, mask: Tensor, inplace: bool) -> S:
        """Erase by content; masked keys have strength zero."""

    def _place(
        self, state: S, key: Tensor, value: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> tuple[S, Tensor]:
        """Write as ``_write`` does; also the slots (…, W), of any meaning where no entry was made."""
        raise NotImplementedError(f"{type(self).__name__} keeps no entries apart; use write instead")

    def _update(self, state: S, slots: Tensor, value: Tensor, mask: Tensor, inplace: bool) -> S:
        raise NotImplementedError(f"{type(self).__name__} has no entries to update; use write instead")

    def _places(self, state: S) -> int:
        """How many places N there are; overridden where ``entries`` costs O(N)."""
        return self.entries(state).filled.shape[-1]

    def entries(self, state: S) -> Entries:
        """The entries as they stand."""
        raise NotImplementedError(f"{type(self).__name__} keeps no entries apart; use read instead")

    def inspect(self, state: S) -> dict[str, Tensor]:
        """What a person would want to see: ``occupancy`` (…,) in [0, 1], ``age`` (…, N) in writes, …."""
        return {}

    # --- by content -----------------------------------------------------------------------------------------

    def read(self, state: S, query: Tensor, mask: Tensor | None = None) -> Read:
        """Read by content.

        Args:
            state: What to read.
            query: ``(…, Q, K)``.
            mask: ``(…, Q)`` bool; a query where it is false reads zero.

        Raises:
            ValueError: If a shape does not fit.
        """
        mask = self._check(state, query, "query", self.key_size, mask)
        read = self._read(state, blank(query, mask))
        weights = None if read.weights is None else blank(read.weights, mask)
        return Read(blank(read.value, mask), weights, read.slots)

    def reader(self, state: S) -> Callable[[Tensor], Read]:
        """A ``read(query)`` for many reads of one state: what no query changes may be done once, here.

        It gives the values that ``read`` gives, for queries ``(…, Q, K)`` none of which is masked. Its
        weights may leave out empty places; ``slots`` then says which entries they belong to.
        """
        return lambda query: self.read(state, query)

    def write(
        self,
        state: S,
        key: Tensor,
        value: Tensor,
        strength: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        inplace: bool = False,
    ) -> S:
        """Write W entries in order; the result is that of W single writes.

        Args:
            state: What to write to; unchanged, unless ``inplace``.
            key: ``(…, W, K)``.
            value: ``(…, W, V)``.
            strength: ``(…, W)`` in [0, 1], the presence that each entry gets; 1 by default.
            mask: ``(…, W)`` bool; an entry where it is false is not written at all.
            inplace: Reuse the memory of ``state``, which must not be used afterwards. Outside autograd only.

        Raises:
            ValueError: If a shape does not fit.
            RuntimeError: If ``inplace`` is asked for while gradients are recorded.
        """
        return self._write(state, *self._rows(state, key, value, strength, mask, inplace), inplace)

    def erase(
        self,
        state: S,
        key: Tensor,
        strength: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        inplace: bool = False,
    ) -> S:
        """Erase by content: presence is multiplied by 1 − strength · match, for every entry and key.

        Args:
            state: What to erase from; unchanged, unless ``inplace``.
            key: ``(…, E, K)``.
            strength: ``(…, E)`` in [0, 1]; 1 by default.
            mask: ``(…, E)`` bool; a key where it is false erases nothing.
            inplace: As in ``write``, with the same errors.
        """
        check_inplace(inplace)
        mask = self._check(state, key, "key", self.key_size, mask)
        return self._erase(state, blank(key, mask), self._strength(strength, mask, key), mask, inplace)

    # --- by place -------------------------------------------------------------------------------------------

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
        """Write as ``write`` does, with the same arguments, and say where.

        Returns:
            The new state, and slots ``(…, W)`` int64: −1 where no entry was made, for it was masked or of
            strength zero. Where a later one of the W took the place of an earlier one, both name it.
        """
        rows = self._rows(state, key, value, strength, mask, inplace)
        state, slots = self._place(state, *rows, inplace)
        return state, made(slots, *rows[2:])

    def update(
        self, state: S, slots: Tensor, value: Tensor, mask: Tensor | None = None, *, inplace: bool = False
    ) -> S:
        """New values for named entries; keys and presence stay, and so does an empty place.

        Args:
            state: What to update; unchanged, unless ``inplace``.
            slots: ``(…, U)`` int64; where one slot is named twice, the last wins.
            value: ``(…, U, V)``.
            mask: ``(…, U)`` bool; an update where it is false does nothing.
            inplace: As in ``write``, with the same errors, and one for a slot that is none.
        """
        check_inplace(inplace)
        mask = self._check(state, value, "value", self.value_size, mask)
        slots = check_indices(slots, "slots", mask.shape).masked_fill(~mask, 0)
        check_slots(slots, self._places(state))
        return self._update(state, slots, blank(value, mask), mask, inplace)

    # --- over time ------------------------------------------------------------------------------------------

    def scan(
        self,
        state: S,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        write_strength: Tensor | None = None,
        erase_strength: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, S]:
        """T steps of erase → write → read, each seeing only what came before.

        This is the stepwise reference; a storage whose algebra permits overrides it with a parallel one.

        Args:
            state: Where to begin.
            query: ``(…, T, K)``, one query a step.
            key: ``(…, T, K)``, what is erased and then written at each step.
            value: ``(…, T, V)``.
            write_strength: ``(…, T)`` in [0, 1]; 1 by default.
            erase_strength: ``(…, T)`` in [0, 1]; ``None`` erases nothing.
            mask: ``(…, T)`` bool; a step where it is false changes nothing and reads zero.

        Returns:
            What was read, ``(…, T, V)``, and the state after the last step.
        """
        check_steps(query, key, value, write_strength, erase_strength, mask)
        reads = [value[..., :0, :]]
        for now in (slice(t, t + 1) for t in range(query.shape[-2])):
            write_t, erase_t, mask_t = (
                s if s is None else s[..., now] for s in (write_strength, erase_strength, mask)
            )
            if erase_t is not None:
                state = self.erase(state, key[..., now, :], erase_t, mask_t)
            state = self.write(state, key[..., now, :], value[..., now, :], write_t, mask_t)
            reads.append(self.read(state, query[..., now, :], mask_t).value)
        return torch.cat(reads[1:] or reads, -2), state

    def reset(self, state: S, where: Tensor) -> S:
        """Batch items where ``where`` (shape of the batch axes, bool) is true start afresh."""
        return where_items(where, self.initial_state(*where.shape, device=where.device), state)

    def select(self, state: S, index: Tensor) -> S:
        """Pick items ``index`` ``(B',)`` along the first batch axis: beam search, shuffling, packing."""
        return select_items(state, index)

    def _check(self, state: S, rows: Tensor, name: str, size: int, mask: Tensor | None) -> Tensor:
        """``rows`` (…, n, size) go with ``state``; their mask."""
        mask = check_rows(rows, name, size, mask)
        if not torch.compiler.is_compiling():
            if self._state_axes is None:
                self._state_axes = first_tensor(self.initial_state(device="meta")).dim()
            first = first_tensor(state)
            check_batch(rows, name, first.shape[: first.dim() - self._state_axes])
        return mask

    def _rows(
        self,
        state: S,
        key: Tensor,
        value: Tensor,
        strength: Tensor | None,
        mask: Tensor | None,
        inplace: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Key, value, strength and mask of what is to be written, checked and blanked."""
        check_inplace(inplace)
        mask = self._check(state, key, "key", self.key_size, mask)
        self._check(state, value, "value", self.value_size, mask)
        return blank(key, mask), blank(value, mask), self._strength(strength, mask, value), mask

    def _strength(self, strength: Tensor | None, mask: Tensor, like: Tensor) -> Tensor:
        if strength is None:
            return mask.to(like.dtype if like.is_floating_point() else self._like.dtype)
        return check_strength(strength, mask)

    def _new(self, device: torch.device | str | None, dtype: torch.dtype | None) -> dict[str, Any]:
        """The keyword arguments that make a floating-point tensor of the state."""
        return {"device": device or self._like.device, "dtype": dtype or self._like.dtype}

    def extra_repr(self) -> str:
        """The sizes, for ``repr``."""
        return f"key_size={self.key_size}, value_size={self.value_size}"
