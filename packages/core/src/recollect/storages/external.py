"""Storages whose rows live outside the process, in an engine on disk or on a server."""

import math
import secrets
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recollect.ops.distance import Metric
from recollect.ops.sharing import fold_readers, unfold_readers
from recollect.state import Read, where_items
from recollect.storages.base import Storage
from recollect.storages.engine import Engine
from recollect.storages.external_read import attend_neighbors
from recollect.storages.external_rows import matching_rows, oldest_rows, pick_sources
from recollect.storages.external_state import (
    ExternalState,
    count_change,
    each_space,
    row_spaces,
    whole_strength,
)
from recollect.storages.neighbors import Neighbors, unfold_neighbors
from recollect.validation import check_attention, check_indices, check_inplace, check_positive, finite_rows


class ExternalStorage(Storage[ExternalState]):
    """Rows in an engine outside the process, read by softmax attention to the nearest.

    A read asks the engine for the ``top_k`` nearest rows and weighs them by exp(sharpness · similarity). The
    similarity is the cosine, the dot product or −‖q − k‖², depending on the engine's metric (as in
    nearest-neighbour language models, Khandelwal et al. 2020, arXiv:1911.00172). Gradients reach the query
    and a learned sharpness; stored rows have none.

    Its state is a handle: unlike in other storages, a write also changes what an older state reads, since all
    states of a space read the same rows. ``initial_state()`` is space 0, the store as it stands.
    ``initial_state(B)`` gives each of B items a new, empty space. Rows stay until they are erased or reset.

    A row is there or not: strengths are 0 or 1. ``place`` returns row numbers, which are never used again.
    Rows are single precision. Several processes may use one engine.

    Args:
        engine: Where the rows live.
        top_k: Number of rows that a read attends to.
        sharpness: Initial factor on the similarity; 10 for cosine, 1/√K for the other metrics by default.
        learn_sharpness: Make the factor a parameter (kept positive).
        capacity: Rows in a space at most; the oldest are erased beyond it. No limit by default.
        match_from: Cosine from which on ``erase`` takes a row's key for the given one.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> from recollect.testing import ListEngine
        >>> storage = ExternalStorage(ListEngine(key_size=2, value_size=1, metric="cosine"))
        >>> key, value = torch.tensor([[1.0, 0.0]]), torch.tensor([[5.0]])
        >>> state = storage.write(storage.initial_state(), key, value)
        >>> storage.read(state, key).value
        tensor([[5.]])
        >>> storage.read(storage.erase(state, key), key).value
        tensor([[0.]])
    """

    def __init__(
        self,
        engine: Engine,
        *,
        top_k: int = 32,
        sharpness: float | None = None,
        learn_sharpness: bool = False,
        capacity: int | None = None,
        match_from: float = 0.999,
    ) -> None:
        super().__init__(engine.key_size, engine.value_size)
        check_positive(top_k=top_k, capacity=capacity)
        check_attention(sharpness, 0)
        if not 0 < match_from <= 1:
            raise ValueError(f"match_from must be in (0, 1], got {match_from}")
        self._engine = engine
        self.top_k = top_k
        self.capacity = capacity
        self.match_from = match_from
        if sharpness is None:
            sharpness = 10.0 if engine.metric == "cosine" else 1 / math.sqrt(engine.key_size)
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(sharpness)), requires_grad=learn_sharpness)

    @property
    def engine(self) -> Engine:
        """Where the rows live: their sources, their origins, and all rows one after the other."""
        return self._engine

    @property
    def metric(self) -> Metric:
        """Distance by which rows are found."""
        return self._engine.metric

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> ExternalState:
        """Return the store as it stands, space 0, or a new and empty space for each item of a batch.

        ``dtype`` is ignored: a state holds integers only.
        """
        device = device or self._reference.device
        # Not from torch's generator: processes with the same seed would share their spaces.
        numbers = [secrets.randbits(62) + 1 for _ in range(math.prod(batch))] if batch else [0]
        space = torch.tensor(numbers, dtype=torch.int64, device=device).reshape(batch)
        return ExternalState(space, torch.zeros_like(space), torch.zeros_like(space))

    # --- reads ----------------------------------------------------------------------------------------------

    def neighbors(
        self, state: ExternalState, query: Tensor, k: int, metric: Metric | None = None
    ) -> Neighbors:
        """Return the k rows nearest to each query, nearest first, as ``SlotStorage.neighbors`` does.

        Args:
            state: The state to search; shared if it has fewer batch axes than ``query``.
            query: ``(…, Q, K)``.
            k: Number of rows for each query.
            metric: The engine's metric, which is the default.

        Raises:
            ValueError: If a shape is wrong, k is not positive or the engine has another metric.
        """
        check_positive(k=k)
        if metric not in (None, self.metric):
            raise ValueError(
                f"this store finds rows by {self.metric!r}, not by {metric!r}: make it with that metric"
            )
        readers, count = query.shape[:-2], query.shape[-2]
        extra = self._check_rows(state, query, "query", self.key_size, None)
        found = self._search(state, fold_readers(query, extra, -2), k)
        return unfold_neighbors(found, readers[:extra], count) if extra else found

    def _search(self, state: ExternalState, query: Tensor, k: int) -> Neighbors:
        rows = query.detach().to("cpu", torch.float32)
        # An engine need not know NaN; what is read there becomes NaN by its weights.
        rows = rows.masked_fill(~rows.isfinite().all(-1, keepdim=True), 0)
        everything = torch.ones(query.shape[:-1], dtype=torch.bool, device="cpu")
        found = self._engine.search(rows.reshape(-1, self.key_size), k, row_spaces(state, everything))
        shape, wide = (*query.shape[:-1], k), torch.promote_types(query.dtype, torch.float32)
        slots = found.rows.reshape(shape).to(query.device)
        keys = found.keys.reshape(*shape, self.key_size).to(query.device, wide)
        values = found.values.reshape(*shape, self.value_size).to(query.device, wide)
        return Neighbors(keys, values, slots, (slots >= 0).to(wide))

    def _read(self, state: ExternalState, query: Tensor) -> Read:
        found = self._search(state, query, self.top_k)
        return attend_neighbors(query, found, self.metric, self.log_sharpness.exp())

    # --- writes ---------------------------------------------------------------------------------------------

    def place(
        self,
        state: ExternalState,
        key: Tensor,
        value: Tensor,
        strength: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        sources: str | Sequence[str] = "",
        inplace: bool = False,
    ) -> tuple[ExternalState, Tensor]:
        """Write as ``write`` does, with the same arguments, and return the numbers of the rows.

        Args:
            state: The state to write to.
            key: ``(…, W, K)``.
            value: ``(…, W, V)``.
            strength: ``(…, W)``, 0 or 1; 1 by default.
            mask: ``(…, W)`` bool; a row where it is false is not written.
            sources: One source for all rows, or one for each, in the order of ``key.flatten(0, -2)``.
            inplace: Without effect.

        Returns:
            The new state, and numbers ``(…, W)`` int64; −1 where no row was made. Rows beyond the capacity
            are erased again.

        Raises:
            ValueError: If a shape is wrong, a strength is neither 0 nor 1, or a row is not finite.
            OSError: If the rows cannot be stored: none of them is.
        """
        readers, count = key.shape[:-2], key.shape[-2]
        if not isinstance(sources, str) and len(sources) != key.shape[:-1].numel():
            raise ValueError(f"{len(sources)} sources do not go with {key.shape[:-1].numel()} rows")
        state, rows, extra = self._check_entries(state, key, value, strength, mask, inplace)
        numbers = torch.arange(key.shape[:-1].numel(), device="cpu").reshape(key.shape[:-1])
        state, slots = self._place(state, *rows, pick_sources(sources, fold_readers(numbers, extra, -1)))
        return state, unfold_readers(slots, readers[:extra], count, -1) if extra else slots

    def _write(
        self, state: ExternalState, key: Tensor, value: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> ExternalState:
        return self._place(state, key, value, strength, mask)[0]

    def _place(
        self,
        state: ExternalState,
        key: Tensor,
        value: Tensor,
        strength: Tensor,
        mask: Tensor,
        sources: str | Sequence[str] = "",
    ) -> tuple[ExternalState, Tensor]:
        live = mask.cpu() & whole_strength(strength)
        key, value = (rows.detach().to("cpu", torch.float32) for rows in (key, value))
        live, rejected = finite_rows(
            live, key=key, value=value
        )  # what was finite may overflow single precision
        if rejected is not None:
            state = self._reject(state, rejected.to(state.rejected.device))
        slots = torch.full(live.shape, -1, device="cpu")
        if live.any():
            own = pick_sources(sources, live.flatten().nonzero())
            slots[live] = self._engine.add(key[live], value[live], own, row_spaces(state, live))
            for space in each_space(state, live):
                self._evict(space)
        return count_change(state, live), slots.to(mask.device)

    def _evict(self, space: int) -> None:
        """Erase the oldest rows of a space beyond its capacity."""
        if self.capacity is not None and (excess := self._engine.count(space) - self.capacity) > 0:
            self._engine.erase(oldest_rows(self._engine, space, excess))

    # --- erases ---------------------------------------------------------------------------------------------

    def erase_slots(
        self, state: ExternalState, slots: Tensor, mask: Tensor | None = None, *, inplace: bool = False
    ) -> ExternalState:
        """Erase rows by number, completely and no other. Numbers without a row, such as −1, are ignored.

        Args:
            state: The state to erase from.
            slots: ``(…, E)`` int64, as ``place`` returns them or ``Read.slots`` names them. Numbers are
                unique in the whole store, and their rows are erased in any space.
            mask: ``(…, E)`` bool; a row where it is false is not erased.
            inplace: Without effect.

        Raises:
            ValueError: If a shape is wrong.
        """
        check_inplace(inplace)
        rows = slots.unsqueeze(-1)[..., :0]  # of width 0, so that one check serves all
        extra = self._check_rows(state, rows, "slots", 0, mask)
        slots = check_indices(slots, "slots", rows.shape[:-1])
        erased = torch.ones_like(slots, dtype=torch.bool) if mask is None else mask
        slots, erased = (fold_readers(row, extra, -1).cpu() for row in (slots, erased))
        if erased.any():
            self._engine.erase(slots[erased])
        return count_change(state, erased)

    def _erase(
        self, state: ExternalState, key: Tensor, strength: Tensor, mask: Tensor, inplace: bool
    ) -> ExternalState:
        erased = mask.cpu() & whole_strength(strength)
        key, spaces = key.detach().cpu(), state.space.cpu().unsqueeze(-1).expand(erased.shape)
        gone = [
            matching_rows(self._engine, space, key[erased & (spaces == space)], self.match_from)
            for space in each_space(state, erased)
        ]
        if any(len(rows) for rows in gone):
            self._engine.erase(torch.cat(gone))
        return count_change(state, erased)

    def reset(self, state: ExternalState, where: Tensor) -> ExternalState:
        """Erase all rows of the spaces of batch items where ``where`` (bool, the batch axes) is true.

        Raises:
            ValueError: If ``where`` is not bool or has other axes.
        """
        if where.shape != state.space.shape:
            raise ValueError(f"where must have shape {tuple(state.space.shape)}, got {tuple(where.shape)}")
        nothing = torch.zeros_like(state.space)
        fresh = where_items(where, ExternalState(state.space, nothing, nothing), state)
        for space in set(state.space[where].flatten().tolist()):
            self._engine.erase(oldest_rows(self._engine, space))
        return fresh

    def select(self, state: ExternalState, index: Tensor) -> ExternalState:
        """Select batch items ``index`` ``(B',)`` along the first batch axis, each at most once.

        Raises:
            ValueError: If an item is selected twice: its rows are not copied, so both would share one space.
        """
        if index.dtype != torch.bool and len(set(index.tolist())) < len(index):
            raise ValueError(
                "an item of an external storage can be selected once only, since its rows are not copied; "
                "read one shared store instead, a state without batch axes"
            )
        return super().select(state, index)

    def inspect(self, state: ExternalState) -> dict[str, Tensor]:
        """Return ``count`` and ``rejected`` ``(…,)``: rows stored and rows left out."""
        counts = [self._engine.count(space) for space in state.space.flatten().tolist()]
        return {
            "count": torch.tensor(counts, device=state.space.device).reshape(state.space.shape),
            "rejected": state.rejected,
        }

    def extra_repr(self) -> str:
        """Sizes, metric and limits, for ``repr``."""
        own = f"metric={self.metric!r}, top_k={self.top_k}, capacity={self.capacity}"
        return f"{super().extra_repr()}, {own}"
