"""A memory of (hidden state, target) pairs that predicts from the nearest ones."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recollect.memories.base import Memory
from recollect.memories.store import Store
from recollect.memories.stores import store_of
from recollect.ops.distance import Metric, check_metric, row_distance
from recollect.ops.inspection import can_inspect
from recollect.ops.masking import apply_mask
from recollect.ops.neighbor_distribution import class_probability, mean_value, neighbor_weights
from recollect.state import Read, State
from recollect.storages.base import Storage
from recollect.storages.external import ExternalStorage
from recollect.storages.external_state import ExternalState
from recollect.storages.neighbors import Neighbors
from recollect.storages.slot import SlotStorage
from recollect.validation import check_positive


class Neighborhood(NamedTuple):
    """What a ``NeighborMemory`` finds for Q queries and what that predicts.

    Attributes:
        prediction: ``(…, Q, C)`` probabilities of classes, or ``(…, Q, V)`` a mean value; zero where nothing
            was found.
        weights: ``(…, Q, k)``, which sum to 1 where something was found.
        distance: ``(…, Q, k)``; infinite where there is no neighbour.
        values: ``(…, Q, k, V)``.
        slots: ``(…, Q, k)`` int64, slots or row numbers; −1 where there is no neighbour.
    """

    prediction: Tensor
    weights: Tensor
    distance: Tensor
    values: Tensor
    slots: Tensor


class NeighborMemory(Memory[State, Storage]):
    """p(y | x) ∝ Σ_i exp(−d(x, x_i) / τ) [y_i = y] over the k rows (x_i, y_i) nearest to x.

    This is the memory of kNN-LM (Khandelwal et al. 2020, arXiv:1911.00172, eq. 2) and kNN-MT (Khandelwal et
    al. 2021, arXiv:2010.00710): keys are hidden states of a trained model, values its targets. It has no
    weights to train. Rows are added and erased at any time, without training; ``Interpolation`` joins it to
    the layer that makes the prediction. See ``recollect.remember``, ``forget`` and ``explain``.

    Values are classes (token ids, labels) if ``classes`` is given, and vectors otherwise; their prediction is
    the weighted mean.

    The memory is a lasting one: it owns its rows, ``memory.store``. A call without a state reads one snapshot
    of them. With ``lasting=False`` it is a working memory, whose state is a value like that of any other.

    Args:
        model_size: Width D of the hidden states, equal to the storage's ``key_size``.
        storage: Where the rows are kept: any storage with slots, ``DiskStorage`` or ``RemoteStorage``. For
            classes its ``value_size`` is 1 (class numbers) or C (one-hot or soft labels).
        classes: Number C of classes; ``None`` for vectors.
        k: Number of neighbours.
        temperature: τ, positive. ``fit_gate`` chooses it on validation data.
        metric: Distance d: ``"l2"`` is ‖x − x_i‖², ``"cosine"`` 1 − cos(x, x_i), ``"dot"`` −x · x_i. By
            default that of the storage's engine, or ``"l2"``.
        lasting: Whether the memory owns its rows.

    Raises:
        ValueError: If an argument is out of range or the storage does not fit.

    Example:
        >>> from recollect import VectorStorage
        >>> memory = NeighborMemory(2, VectorStorage(key_size=2, value_size=1, slots=8), classes=3, k=2)
        >>> memory.remember(torch.eye(2), torch.tensor([2, 0]), "ticket-4711")
        tensor([0, 1])
        >>> memory.lookup(torch.tensor([[1.0, 0.0]])).prediction.round(decimals=2)
        tensor([[0.1200, 0.0000, 0.8800]])
        >>> memory.store.erase(torch.tensor([0]))
        1
        >>> memory.lookup(torch.tensor([[1.0, 0.0]])).prediction
        tensor([[1., 0., 0.]])
    """

    def __init__(
        self,
        model_size: int,
        storage: Storage,
        classes: int | None = None,
        *,
        k: int = 8,
        temperature: float = 1.0,
        metric: Metric | None = None,
        lasting: bool = True,
    ) -> None:
        super().__init__(model_size, storage)
        check_positive(k=k, classes=classes)
        if storage.key_size != model_size:
            raise ValueError(f"the storage keeps keys of width {storage.key_size}, not {model_size}")
        if classes is not None and storage.value_size not in (1, classes):
            raise ValueError(
                f"for {classes} classes the storage needs value_size=1 or {classes}, got {storage.value_size}"
            )
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        if not isinstance(storage, SlotStorage | ExternalStorage):
            raise ValueError(
                f"NeighborMemory needs a storage that keeps entries apart, not {type(storage).__name__}"
            )
        self.classes = classes
        self.k = k
        self.metric: Metric = _metric_of(storage, metric)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)), requires_grad=False)
        self.lasting = lasting
        self.store: Store | None = store_of(storage) if lasting else None

    @property
    def rows(self) -> Store:
        """The rows of a lasting memory.

        Raises:
            ValueError: If the memory is a working one.
        """
        if self.store is None:
            raise ValueError("this memory owns no rows (lasting=False): write to a state instead")
        return self.store

    def initial_state(
        self, *batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return the snapshot that a lasting memory reads, shared by all; else an empty state."""
        if self.store is not None:
            return self.store.snapshot()
        state: State = self.storage.initial_state(*batch, device=device, dtype=dtype)
        return state

    # --- reading --------------------------------------------------------------------------------------------

    def lookup(self, query: Tensor, state: State | None = None, k: int | None = None) -> Neighborhood:
        """Find the nearest rows and predict from them.

        Args:
            query: ``(…, Q, D)``.
            state: The state to read; the snapshot of a lasting memory by default.
            k: Number of neighbours, if not the memory's own.
        """
        state = self.initial_state(*query.shape[:-2]) if state is None else state
        with torch.autocast(query.device.type, enabled=False):  # distances are small differences
            query = query.float()
            found = self._neighbors(state, query, self.k if k is None else k)
            distance = row_distance(query, found.keys.float(), self.metric)
            present = found.presence.float()
            weights = neighbor_weights(distance, present, self.log_temperature.to(distance).exp())
            prediction = self.predict(weights, found.values)
        self.storage.report_read(state, Read(mean_value(weights, found.values), weights, found.slots))
        distance = distance.masked_fill(present <= 0, torch.inf)
        return Neighborhood(prediction, weights, distance, found.values, found.slots)

    def _neighbors(self, state: State, query: Tensor, k: int) -> Neighbors:
        if isinstance(self.storage, ExternalStorage):
            return self.storage.neighbors(cast(ExternalState, state), query, k)
        assert isinstance(self.storage, SlotStorage)
        return self.storage.neighbors(state, query, k, self.metric)

    def predict(self, weights: Tensor, values: Tensor) -> Tensor:
        """Return probabilities ``(…, Q, C)`` or a mean value ``(…, Q, V)``, from weights and values."""
        if self.classes is None or values.shape[-1] == self.classes != 1:
            return mean_value(weights, values)
        return class_probability(weights, values.squeeze(-1).round().long(), self.classes)

    def read(self, state: State, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean value of the nearest rows ``(…, Q, D)``, for values of the memory's own width."""
        if self.storage.value_size != self.model_size or self.classes is not None:
            raise ValueError(
                "only Interpolation reads a NeighborMemory of classes, or of values whose width differs from "
                f"that of the hidden states ({self.storage.value_size} and {self.model_size})"
            )
        y = self.lookup(x if mask is None else apply_mask(x, mask), state).prediction.to(x.dtype)
        return y if mask is None else apply_mask(y, mask)

    def forward(
        self, x: Tensor, state: State | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read at each step; see ``read``."""
        state = self.initial_state(*x.shape[:-2]) if state is None else state
        return self.read(state, x, mask), state

    # --- changing the rows ----------------------------------------------------------------------------------

    def remember(self, x: Tensor, target: Tensor, sources: str | Sequence[str] = "") -> Tensor:
        """Add rows to a lasting memory, and return their numbers ``(W,)`` int64.

        Args:
            x: Hidden states ``(W, D)``.
            target: ``(W,)`` int64 classes, or ``(W, V)`` vectors.
            sources: Where the rows come from, to cite and forget them by: one name, or one for each row.
        """
        return self.rows.add(x, self._values(x, target), sources)

    def write(
        self, state: State, x: Tensor, mask: Tensor | None = None, target: Tensor | None = None
    ) -> State:
        """Add rows to the state of a working memory.

        Args:
            state: The state to write to; unchanged.
            x: Hidden states ``(…, W, D)``.
            mask: ``(…, W)`` bool; a row where it is false is not written.
            target: ``(…, W)`` int64 classes, or ``(…, W, V)`` vectors; x itself by default.
        """
        if self.store is not None:
            raise ValueError("a lasting memory is changed by remember and forget only")
        state = self.storage.write(state, x, self._values(x, x if target is None else target), None, mask)
        return state

    def erase(self, state: State, x: Tensor, mask: Tensor | None = None) -> State:
        """Erase rows by content from the state of a working memory."""
        if self.store is not None:
            raise ValueError("a lasting memory is changed by remember and forget only")
        state = self.storage.erase(state, x, None, mask)
        return state

    def _values(self, x: Tensor, target: Tensor) -> Tensor:
        """Targets as values ``(…, W, V)``."""
        wide = self.storage.value_size
        if self.classes is None or target.is_floating_point():
            expected = (*x.shape[:-1], wide)
        else:
            expected = x.shape[:-1]
        if target.shape != expected:
            raise ValueError(
                f"targets must have shape {tuple(expected)} to go with x, got {tuple(target.shape)}"
            )
        if self.classes is None or target.is_floating_point():
            return target.to(x.dtype)
        if can_inspect(target) and target.numel() and not 0 <= target.min() <= target.max() < self.classes:
            bad = target[(target < 0) | (target >= self.classes)][0]
            raise ValueError(f"targets must be classes in [0, {self.classes}), got {bad}")
        return F.one_hot(target, wide).to(x.dtype) if wide > 1 else target.unsqueeze(-1).to(torch.float32)

    # --- state ----------------------------------------------------------------------------------------------

    def reset(self, state: State, where: Tensor) -> State:
        """See ``Memory.reset``; a shared snapshot stays as it is."""
        return state if self.store is not None else super().reset(state, where)

    def select(self, state: State, index: Tensor) -> State:
        """See ``Memory.select``; a shared snapshot stays as it is."""
        return state if self.store is not None else super().select(state, index)

    def inspect(self, state: State) -> dict[str, Tensor]:
        """Return the storage's figures."""
        return self.storage.inspect(state)

    def get_extra_state(self) -> dict[str, int]:
        """Return the number of neighbours, for the ``state_dict``."""
        return {"k": self.k}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Restore what ``get_extra_state`` returned."""
        self.k = state["k"]

    def extra_repr(self) -> str:
        """The arguments, for ``repr``."""
        return f"classes={self.classes}, k={self.k}, metric={self.metric!r}"


def _metric_of(storage: Any, metric: Metric | None) -> Metric:
    """The metric, which must be that of the storage's engine, if there is one."""
    if metric is not None:
        check_metric(metric)
    if not isinstance(storage, ExternalStorage):
        return metric or "l2"
    if metric not in (None, storage.engine.metric):
        raise ValueError(f"the store was made for the metric {storage.engine.metric!r}, not {metric!r}")
    return storage.engine.metric
