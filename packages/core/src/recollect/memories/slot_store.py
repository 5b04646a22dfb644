"""Rows of a lasting memory in the memory of the process."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, final

import torch
from torch import Tensor

from recollect.memories.store import Store
from recollect.ops.indexing import mask_repeats
from recollect.ops.masking import apply_mask
from recollect.state import PersistentState, State, first_tensor
from recollect.storages.engine import Origin, Rows
from recollect.storages.slot import SlotStorage

SMALL = 64 << 20
"""Bytes up to which a store in memory is part of the ``state_dict``."""


@final
class SlotStore(Store):
    """Rows in memory, in any storage with slots; the number of a row is its slot.

    Adding rows copies the storage's state if a snapshot was taken since the last change, else it costs no
    more than the rows. Up to 64 MiB are part of the ``state_dict``.

    Args:
        storage: Where the rows are. Past its capacity, it evicts rows by its policy.

    Example:
        >>> from recollect import VectorStorage
        >>> store = SlotStore(VectorStorage(key_size=2, value_size=1, slots=8))
        >>> store.add(torch.eye(2), torch.ones(2, 1), ["a", "b"])
        tensor([0, 1])
        >>> store.erase(torch.tensor([0])), store.sources()
        (1, {'b': 1})
    """

    storage: SlotStorage
    times: Tensor
    source: Tensor

    def __init__(self, storage: SlotStorage) -> None:
        super().__init__(storage)
        state = storage.initial_state(dtype=torch.float32)
        size = sum(tensor.nbytes for tensor in tensors_of(state))
        self.kept: PersistentState[Any] = PersistentState(state, persistent=size <= SMALL)
        device = first_tensor(state).device
        times = torch.zeros(storage.capacity, dtype=torch.float64, device=device)
        self.register_buffer("times", times, size <= SMALL)
        self.register_buffer("source", torch.full((storage.capacity,), -1, device=device), size <= SMALL)
        self.numbers: dict[str, int] = {}
        self._fingerprint: str | None = None
        self._lent = True  # whether somebody may hold the tensors
        self.register_state_dict_pre_hook(SlotStore._lend)  # type: ignore[no-untyped-call]

    def _lend(self, *_: Any) -> None:
        self._lent = True

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move to another device; rows stay in float32 in a model of any dtype, for class numbers."""
        with self._lock:
            device = fn(torch.empty(0, device=self.times.device)).device
            self.kept.to(device)
            self.times, self.source = self.times.to(device), self.source.to(device)
        return self

    def snapshot(self) -> State:
        """See ``Store.snapshot``."""
        state: State
        if torch.compiler.is_compiling():  # which knows no locks; a compiled call keeps no snapshot
            state = self.kept.get()
            return state
        with self._lock:
            self._lent = True
            state = self.kept.get()
            return state

    def add(self, key: Tensor, value: Tensor, sources: str | Sequence[str] = "") -> Tensor:
        """See ``Store.add``."""
        names = [sources] * len(key) if isinstance(sources, str) else list(sources)
        if len(names) != len(key):
            raise ValueError(f"{len(key)} rows need as many sources, got {len(names)}")
        with self._lock, torch.no_grad():
            state = self.kept.get()
            key, value = (
                key.detach().to(self.times.device).float(),
                value.detach().to(self.times.device).float(),
            )
            state, slots = self.storage.place(state, key, value, inplace=not self._lent)
            self._change(state)
            # More rows than there is room for overwrite each other, or drop out of a full bucket.
            there = mask_repeats(slots, slots >= 0) & torch.isin(slots, self._rows(state))
            slots = slots.masked_fill(~there, -1)
            self._note(slots, names)
        return slots

    def load(self, rows: Rows) -> Tensor:
        """See ``Store.load``; times are kept."""
        with self._lock:
            slots = super().load(rows)
            times = [origin.time for origin in rows.origins]
            times_of = torch.tensor(times, dtype=torch.float64, device=slots.device)
            self.times[slots[slots >= 0]] = times_of[slots >= 0]
        return slots

    def _change(self, state: State) -> None:
        self.kept.set(state)
        if self._lent:
            self.times, self.source = self.times.clone(), self.source.clone()
        self._lent = False

    def _note(self, slots: Tensor, names: list[str]) -> None:
        """Note source and time of new rows."""
        for name in names:
            self.numbers.setdefault(name, len(self.numbers))
        stored = slots >= 0
        numbers = torch.tensor([self.numbers[name] for name in names], device=slots.device)[stored]
        self.source[slots[stored]] = numbers
        self.times[slots[stored]] = time.time()

    def erase(self, rows: Tensor, *, purge: bool = False) -> int:
        """See ``Store.erase``; a purge zeroes what is left in memory, which older snapshots still hold."""
        with self._lock, torch.no_grad():
            state, rows = self.kept.get(), rows.to(self.times.device)
            there = torch.unique(rows[torch.isin(rows, self._rows(state))])
            if len(there):
                state = self.storage.erase_slots(state, there, inplace=not self._lent)
                self._change(wiped(self.storage, state) if purge else state)
                self.source[there] = -1
        return len(there)

    def _rows(self, state: State) -> Tensor:
        return (self.storage.inspect(state)["presence"] > 0).nonzero().flatten()

    def origins(self, rows: Tensor) -> list[Origin | None]:
        """See ``Store.origins``."""
        with self._lock:
            state, names, rows = self.kept.get(), list(self.numbers), rows.to(self.times.device)
            there = torch.isin(rows, self._rows(state)).tolist()
            index = rows.clamp(0, self.storage.capacity - 1)
            found = zip(
                rows.tolist(), self.source[index].tolist(), self.times[index].tolist(), there, strict=True
            )
            return [Origin(row, names[source], when) if known else None for row, source, when, known in found]

    def scan(self, sources: Sequence[str] | None = None) -> Iterator[Rows]:
        """See ``Store.scan``; yields one part."""
        with self._lock:
            state = self.snapshot()
            keys, values, _ = self.storage.entries(state)
            rows = self._rows(state)
            if sources is not None:
                wanted = [self.numbers[name] for name in sources if name in self.numbers]
                rows = rows[torch.isin(self.source[rows], torch.tensor(wanted, device=rows.device))]
            origins = [origin for origin in self.origins(rows) if origin is not None]
        yield Rows(keys[rows], values[rows], origins)

    def sources(self) -> dict[str, int]:
        """See ``Store.sources``."""
        with self._lock:
            counts = self.source[self._rows(self.kept.get())].bincount(minlength=len(self.numbers)).tolist()
            return {name: counts[number] for name, number in self.numbers.items() if counts[number]}

    def __len__(self) -> int:
        """See ``Store.__len__``."""
        return len(self._rows(self.kept.get()))

    @property
    def fingerprint(self) -> str | None:
        """See ``Store.fingerprint``."""
        return self._fingerprint

    def claim(self, fingerprint: str) -> None:
        """See ``Store.claim``."""
        with self._lock:
            if self._fingerprint not in (None, fingerprint) and len(self):
                raise ValueError(other_model(self._fingerprint, fingerprint))
            self._fingerprint = fingerprint

    def get_extra_state(self) -> dict[str, Any]:
        """Return the names of the sources and the model's fingerprint, for the ``state_dict``."""
        return {"sources": list(self.numbers), "fingerprint": self._fingerprint}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what ``get_extra_state`` returned."""
        self.numbers = {name: number for number, name in enumerate(state["sources"])}
        self._fingerprint = state["fingerprint"]


def other_model(stored: str | None, given: str) -> str:
    """Say that a store holds the keys of another model."""
    return (
        f"this store holds keys of the model {stored}, not of {given}: their hidden states do not compare; "
        "load the weights that wrote it, or use another store"
    )


def tensors_of(state: State) -> Iterator[Tensor]:
    """All tensors of a state."""
    for item in state:
        if isinstance(item, Tensor):
            yield item
        else:
            yield from tensors_of(item)


def wiped(storage: SlotStorage, state: State) -> State:
    """Zero keys and values of free slots, which hold what was erased until something else is written."""
    return _wiped(state, storage.entries(state).filled > 0)


def _wiped(state: State, filled: Tensor) -> State:
    names = getattr(state, "_fields", ())
    items = [
        apply_mask(item, filled)
        if name in ("keys", "values")
        else item
        if isinstance(item, Tensor)
        else _wiped(item, filled)
        for name, item in zip(names, state, strict=True)
    ]
    return type(state)(*items)
