"""The base class of all storages: read, write and erase, by content, by slot and over time."""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial

from torch import Tensor

from recollect.ops.indexing import mask_slots
from recollect.ops.masking import apply_mask, mask_read
from recollect.state import Entries, Read, S, select_items, where_items
from recollect.storages.module import StorageModule
from recollect.storages.scan import ScanSteps, stepwise_scan
from recollect.validation import check_indices, check_inplace, check_slots, check_steps


class Storage(StorageModule[S]):
    """A data structure that is read, written and erased by content, with gradients.

    Its state is a value: a named tuple of tensors, batch axes first. No method changes the state it is given
    or keeps a state of its own. Each entry has a presence in [0, 1]. A read weighs it by presence ·
    exp(similarity), ``write`` sets its presence to the strength of the write, and ``erase`` multiplies it by
    1 − strength · match.

    The public methods check shapes, zero what is masked (even NaN) and fill in defaults. Subclasses implement
    the methods with a leading underscore.

    Args:
        key_size: Width K of keys and queries.
        value_size: Width V of values.

    Raises:
        ValueError: If a size is not positive.
    """

    # --- to be implemented by a subclass --------------------------------------------------------------------

    @abstractmethod
    def _read(self, state: S, query: Tensor) -> Read:
        """Read by content; the base class zeroes masked queries."""

    def _write(
        self, state: S, key: Tensor, value: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> S:
        """Write W entries in order, as W single writes would; overridden where there are no slots."""
        return self._place(state, key, value, strength, mask, inplace)[0]

    @abstractmethod
    def _erase(self, state: S, key: Tensor, strength: Tensor, mask: Tensor, inplace: bool) -> S:
        """Erase by content; masked keys have strength zero."""

    def _reader(self, state: S) -> Callable[[Tensor], Read] | None:
        """Prepare many reads of one state; ``None`` if there is nothing to prepare."""
        return None

    def _place(
        self, state: S, key: Tensor, value: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> tuple[S, Tensor]:
        """Write as ``_write`` does, and return the slots ``(…, W)``, arbitrary where no entry was made."""
        raise NotImplementedError(f"{type(self).__name__} keeps no entries apart; use write instead")

    def _update(self, state: S, slots: Tensor, value: Tensor, mask: Tensor, inplace: bool) -> S:
        raise NotImplementedError(f"{type(self).__name__} has no entries to update; use write instead")

    def _scan(self, state: S, steps: ScanSteps) -> tuple[Tensor, S]:
        """Scan in parallel, if the storage can; the result must equal that of ``stepwise_scan``."""
        return stepwise_scan(self, state, steps)

    def _num_slots(self, state: S) -> int:
        """Number N of slots; overridden where ``entries`` costs O(N)."""
        return self.entries(state).filled.shape[-1]

    def entries(self, state: S) -> Entries:
        """Return the entries."""
        raise NotImplementedError(f"{type(self).__name__} keeps no entries apart; use read instead")

    def inspect(self, state: S) -> dict[str, Tensor]:
        """Return figures to look at: ``occupancy`` ``(…,)`` in [0, 1], ``age`` ``(…, N)`` in writes, …."""
        return {}

    # --- by content -----------------------------------------------------------------------------------------

    def read(self, state: S, query: Tensor, mask: Tensor | None = None) -> Read:
        """Read by content.

        Args:
            state: The state to read.
            query: ``(…, Q, K)``.
            mask: ``(…, Q)`` bool; a query where it is false reads zero.

        Raises:
            ValueError: If a shape is wrong.
        """
        mask = self._check_rows(state, query, "query", self.key_size, mask)
        read = mask_read(self._read(state, apply_mask(query, mask)), mask)
        return self.report_read(state, read)

    def reader(self, state: S) -> Callable[..., Read]:
        """Return a function ``read(query, mask=None)``, for many reads of one state.

        It gives the values that ``read`` gives, and may prepare once what does not depend on the query. Its
        weights may leave out empty slots; ``Read.slots`` then names the entries.
        """
        attend = self._reader(state)
        if attend is None:
            return partial(self.read, state)
        return lambda query, mask=None: self.report_read(state, mask_read(attend(query), mask))

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
        """Write W entries in order; the result equals that of W single writes.

        Args:
            state: The state to write to; unchanged, unless ``inplace``.
            key: ``(…, W, K)``.
            value: ``(…, W, V)``.
            strength: ``(…, W)`` in [0, 1], the presence of each entry; 1 by default.
            mask: ``(…, W)`` bool; an entry where it is false is not written.
            inplace: Reuse the memory of ``state``, which must not be used afterwards. Outside autograd only.

        Raises:
            ValueError: If a shape is wrong.
            RuntimeError: If ``inplace`` is set while gradients are recorded.
        """
        return self._write(state, *self._check_entries(state, key, value, strength, mask, inplace), inplace)

    def erase(
        self,
        state: S,
        key: Tensor,
        strength: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        inplace: bool = False,
    ) -> S:
        """Erase by content: multiply presence by 1 − strength · match, for every entry and key.

        Args:
            state: The state to erase from; unchanged, unless ``inplace``.
            key: ``(…, E, K)``.
            strength: ``(…, E)`` in [0, 1]; 1 by default.
            mask: ``(…, E)`` bool; a key where it is false erases nothing.
            inplace: As in ``write``.

        Raises:
            ValueError: If a shape is wrong.
            RuntimeError: If ``inplace`` is set while gradients are recorded.
        """
        check_inplace(inplace)
        mask = self._check_rows(state, key, "key", self.key_size, mask)
        return self._erase(
            state, apply_mask(key, mask), self._check_strength(strength, mask, key), mask, inplace
        )

    # --- by slot --------------------------------------------------------------------------------------------

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
            masked or of strength zero. If one of the W overwrites another, both name the same slot.
        """
        rows = self._check_entries(state, key, value, strength, mask, inplace)
        state, slots = self._place(state, *rows, inplace)
        return state, mask_slots(slots, *rows[2:])

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
            ValueError: If a shape is wrong or a slot is out of range.
            RuntimeError: If ``inplace`` is set while gradients are recorded.
        """
        check_inplace(inplace)
        mask = self._check_rows(state, value, "value", self.value_size, mask)
        slots = check_indices(slots, "slots", mask.shape).masked_fill(~mask, 0)
        check_slots(slots, self._num_slots(state))
        return self._update(state, slots, apply_mask(value, mask), mask, inplace)

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
        """Run T steps of erase → write → read; each step reads what the steps up to it have written.

        A storage whose algebra permits it runs all steps in parallel. While a read hook is registered the
        steps run one by one, so that the hook sees each read.

        Args:
            state: The state to start from.
            query: ``(…, T, K)``, one query per step.
            key: ``(…, T, K)``, erased and then written at each step.
            value: ``(…, T, V)``.
            write_strength: ``(…, T)`` in [0, 1]; 1 by default.
            erase_strength: ``(…, T)`` in [0, 1]; ``None`` erases nothing.
            mask: ``(…, T)`` bool; a step where it is false changes nothing and reads zero.

        Returns:
            What each step read ``(…, T, V)``, and the state after the last step.
        """
        steps = ScanSteps(query, key, value, write_strength, erase_strength, mask)
        check_steps(*steps)
        return stepwise_scan(self, state, steps) if self.traced else self._scan(state, steps)

    def reset(self, state: S, where: Tensor) -> S:
        """Reset batch items to the initial state where ``where`` (bool, shape of the batch axes) is true."""
        return where_items(where, self.initial_state(*where.shape, device=where.device), state)

    def select(self, state: S, index: Tensor) -> S:
        """Select batch items ``index`` ``(B',)`` along the first batch axis, as beam search does."""
        return select_items(state, index)


def capacity(storage: Storage) -> int | None:
    """Return the number of entries that a storage keeps apart; ``None`` if it keeps none apart.

    Example:
        >>> from recollect import VectorStorage
        >>> capacity(VectorStorage(8, 8, slots=4))
        4
    """
    try:
        return storage._num_slots(storage.initial_state(device="meta"))
    except NotImplementedError:
        return None
