"""The base class of all storages: read, write and erase by content, one by one and over time."""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial

from torch import Tensor

from recollect.ops.cached_attention import SoftmaxRead, cached_attention
from recollect.ops.masking import apply_mask, full_mask, mask_read
from recollect.ops.sharing import fold_readers, unfold_read
from recollect.state import Read, S, select_items, where_items
from recollect.storages.module import StorageModule
from recollect.storages.scan import ScanSteps, blockwise_scan, stepwise_scan
from recollect.validation import check_inplace, check_steps, check_strength, finite_rows


class Storage(StorageModule[S]):
    """A data structure that is read, written and erased by content, with gradients.

    Its state is a value: a named tuple of tensors, batch axes first. No method changes the state it is given
    or keeps a state of its own. Each entry has a presence in [0, 1]. A read weighs it by presence ·
    exp(similarity), ``write`` sets its presence to the strength of the write, and ``erase`` multiplies it by
    1 − strength · match. What is empty contributes exactly zero, whatever bits it holds.

    A state with fewer batch axes than the arguments is shared: the axes that it lacks, the leading ones, are
    those of its users. Each of them reads the one store. What they write or erase happens in their order,
    the rows of the first before those of the second.

    The public methods check shapes, zero what is masked (even NaN) and fill in defaults. A row that holds a
    NaN or an infinity is never stored and erases nothing: on CPU it raises, elsewhere it is left out and
    counted in the state's field ``rejected`` ``(…,)``. Subclasses implement the methods with a leading
    underscore.

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

    def _read_value(self, state: S, query: Tensor) -> Tensor:
        """Read values ``(…, Q, V)`` without weights, where that is cheaper."""
        return self._read(state, query).value

    @abstractmethod
    def _write(
        self, state: S, key: Tensor, value: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> S:
        """Write W entries in order, as W single writes would; masked ones have strength zero."""

    @abstractmethod
    def _erase(self, state: S, key: Tensor, strength: Tensor, mask: Tensor, inplace: bool) -> S:
        """Erase by content; masked keys have strength zero."""

    def _softmax_read(self, state: S) -> SoftmaxRead | None:
        """Return the read of a state as softmax attention over all entries; ``None`` if it is another."""
        return None

    def _scan(self, state: S, steps: ScanSteps) -> tuple[Tensor, S]:
        """Scan in parallel, if the storage can; the result must equal that of ``stepwise_scan``.

        Steps have passed the checks: what is masked is zero.
        """
        return blockwise_scan(self, state, steps)

    def inspect(self, state: S) -> dict[str, Tensor]:
        """Return figures to look at: ``occupancy`` ``(…,)`` in [0, 1], ``age`` ``(…, N)`` in writes, …."""
        return {}

    # --- by content -----------------------------------------------------------------------------------------

    def read(self, state: S, query: Tensor, mask: Tensor | None = None, *, need_weights: bool = True) -> Read:
        """Read by content.

        Args:
            state: The state to read; shared if it has fewer batch axes than ``query``.
            query: ``(…, Q, K)``.
            mask: ``(…, Q)`` bool; a query where it is false reads zero.
            need_weights: Return weights and slots. Without them a storage can read in one pass, with a fused
                kernel. Read hooks see them in any case.

        Raises:
            ValueError: If a shape is wrong.
        """
        extra = self._check_rows(state, query, "query", self.key_size, mask)
        if need_weights or self.traced:
            return self.report_read(state, self._read_shared(partial(self._read, state), query, mask, extra))

        def attend(query: Tensor) -> Read:
            return Read(self._read_value(state, query), None, None)

        return self._read_shared(attend, query, mask, extra)

    def reader(self, state: S) -> Callable[..., Read]:
        """Return a function ``read(query, mask=None)``, for many reads of one state.

        It gives the values that ``read`` gives, and may prepare once what does not depend on the query. Its
        weights may leave out empty slots; ``Read.slots`` then names the entries.
        """
        softmax_read = self._softmax_read(state)
        if softmax_read is None:
            return partial(self.read, state)
        attend = cached_attention(softmax_read)

        def read(query: Tensor, mask: Tensor | None = None) -> Read:
            extra = self._check_rows(state, query, "query", self.key_size, mask)
            return self.report_read(state, self._read_shared(attend, query, mask, extra))

        return read

    @staticmethod
    def _read_shared(
        attend: Callable[[Tensor], Read], query: Tensor, mask: Tensor | None, extra: int
    ) -> Read:
        """Read with ``extra`` leading axes of readers that the store does not have."""
        if mask is not None:
            query = apply_mask(query, mask)
        if not extra:
            return mask_read(attend(query), mask)
        read = unfold_read(attend(fold_readers(query, extra, -2)), query.shape[:extra], query.shape[-2])
        return mask_read(read, mask)

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
            ValueError: If a shape is wrong, or (on CPU) a row is not finite.
            RuntimeError: If ``inplace`` is set while gradients are recorded.
        """
        state, rows, _ = self._check_entries(state, key, value, strength, mask, inplace)
        return self._write(state, *rows, inplace)

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
            ValueError: If a shape is wrong, or (on CPU) a key is not finite.
            RuntimeError: If ``inplace`` is set while gradients are recorded.
        """
        check_inplace(inplace)
        extra = self._check_rows(state, key, "key", self.key_size, mask)
        if mask is None:
            mask = full_mask(key, None)
        else:
            key = apply_mask(key, mask)
        full_strength = strength is None
        strength = self._check_strength(strength, mask, key)
        key, strength = fold_readers(key, extra, -2), fold_readers(strength, extra, -1)
        mask = fold_readers(mask, extra, -1)
        given = {} if full_strength else {"strength": strength}
        mask, rejected = finite_rows(mask, key=key, **given)
        if rejected is not None:
            state = self._reject(state, rejected)
            key, strength = apply_mask(key, mask), apply_mask(strength, mask)
        return self._erase(state, key, strength, mask, inplace)

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
            state: The state to start from, with the batch axes of the steps.
            query: ``(…, T, K)``, one query per step.
            key: ``(…, T, K)``, erased and then written at each step.
            value: ``(…, T, V)``.
            write_strength: ``(…, T)`` in [0, 1]; 1 by default.
            erase_strength: ``(…, T)`` in [0, 1]; ``None`` erases nothing.
            mask: ``(…, T)`` bool; a step where it is false changes nothing and reads zero.

        Returns:
            What each step read ``(…, T, V)``, and the state after the last step.

        Raises:
            ValueError: If a shape is wrong, the state is a shared one, or (on CPU) a step is not finite.
        """
        steps = ScanSteps(query, key, value, write_strength, erase_strength, mask)
        check_steps(*steps)
        if self._check_rows(state, query, "query", self.key_size, mask):
            raise ValueError(
                f"a scan of shape {tuple(query.shape)} needs a state for each item: items that write to one "
                "store in turn have no common order of steps; write and read one after the other instead"
            )
        state, steps = self._check_scan(state, steps)
        return stepwise_scan(self, state, steps) if self.traced else self._scan(state, steps)

    def _check_scan(self, state: S, steps: ScanSteps) -> tuple[S, ScanSteps]:
        """Check strengths, zero what is masked, and mask steps that are not finite, for all steps at once."""
        query, key, value, written, erased, mask = steps
        full = full_mask(query, mask)
        written, erased = (row if row is None else check_strength(row, full) for row in (written, erased))
        if mask is not None:
            query, key, value = (apply_mask(rows, mask) for rows in (query, key, value))
        strengths = {"write_strength": written, "erase_strength": erased}
        given = {name: row for name, row in strengths.items() if row is not None}
        finite, rejected = finite_rows(full, key=key, value=value, **given)
        if rejected is not None:
            state, mask = self._reject(state, rejected), finite
            query, key, value = (apply_mask(rows, mask) for rows in (query, key, value))
            written, erased = (row if row is None else apply_mask(row, mask) for row in (written, erased))
        return state, ScanSteps(query, key, value, written, erased, mask)

    def _full_steps(self, steps: ScanSteps) -> ScanSteps:
        """Fill in write strengths and mask."""
        mask = full_mask(steps.query, steps.mask)
        strength = self._check_strength(steps.write_strength, mask, steps.value)
        return steps._replace(write_strength=strength, mask=mask)

    def reset(self, state: S, where: Tensor) -> S:
        """Reset batch items to the initial state where ``where`` (bool, shape of the batch axes) is true."""
        return where_items(where, self.initial_state(*where.shape, device=where.device), state)

    def select(self, state: S, index: Tensor) -> S:
        """Select batch items ``index`` ``(B',)`` along the first batch axis, as beam search does."""
        return select_items(state, index)
