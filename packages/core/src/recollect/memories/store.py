"""The owner of a lasting memory's rows: changed in two methods, under a lock, and read as one snapshot."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from recollect.ops.indexing import mask_repeats
from recollect.ops.masking import apply_mask
from recollect.state import PersistentState, State, first_tensor
from recollect.storages.base import Storage
from recollect.storages.engine import Origin, Rows
from recollect.storages.external import ExternalStorage
from recollect.storages.packed_engine import PackedEngine
from recollect.storages.slot import SlotStorage

SMALL = 64 << 20
"""Bytes up to which a store in memory is part of the ``state_dict``."""


class Store(nn.Module, ABC):
    """Rows (key, value) with their sources, kept in a storage from call to call.

    Working memories take a state and return one. A lasting memory owns its state, in a ``Store``: ``add`` and
    ``erase`` alone change it, under a lock, and ``snapshot`` returns a state that no later change touches.

    Args:
        storage: Where the rows are.
    """

    storage: Storage

    def __init__(self, storage: Storage) -> None:
        super().__init__()
        object.__setattr__(self, "storage", storage)  # a submodule of the memory, once
        self._lock = threading.RLock()

    @abstractmethod
    def snapshot(self) -> State:
        """Return the state to read: that of the moment, which stays as it is."""

    @abstractmethod
    def add(self, key: Tensor, value: Tensor, sources: str | Sequence[str] = "") -> Tensor:
        """Store rows, and return their numbers ``(W,)`` int64; −1 for a row that was not stored.

        Args:
            key: ``(W, K)``.
            value: ``(W, V)``.
            sources: One source for all rows, or one for each.
        """

    def load(self, rows: Rows) -> Tensor:
        """Add rows of another store, with their sources; where the storage can, with their times."""
        return self.add(rows.keys, rows.values, [origin.source for origin in rows.origins])

    @abstractmethod
    def erase(self, rows: Tensor, *, purge: bool = False) -> int:
        """Erase rows by number, and return how many there were.

        Args:
            rows: ``(E,)`` int64.
            purge: Also remove their bytes from where they are kept.
        """

    def forget(
        self,
        sources: Sequence[str] | None = None,
        where: Callable[[Origin], bool] | None = None,
        *,
        purge: bool = False,
    ) -> int:
        """Erase rows by their origin, and return how many there were.

        Args:
            sources: Rows of these sources; all by default.
            where: Rows for which this function of their origin is true; all by default.
            purge: As in ``erase``.
        """
        with self._lock:  # the number of a row in memory may be given to another row
            rows = [
                origin.row
                for part in self.scan(sources)
                for origin in part.origins
                if where is None or where(origin)
            ]
            return self.erase(torch.tensor(rows, dtype=torch.int64, device="cpu"), purge=purge) if rows else 0

    @abstractmethod
    def origins(self, rows: Tensor) -> list[Origin | None]:
        """Return the origin of each of the rows ``(n,)``; ``None`` where there is none."""

    @abstractmethod
    def scan(self, sources: Sequence[str] | None = None) -> Iterator[Rows]:
        """Read all rows, or those of some sources, a part at a time."""

    @abstractmethod
    def sources(self) -> dict[str, int]:
        """Return the number of rows of each source."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @property
    @abstractmethod
    def fingerprint(self) -> str | None:
        """Fingerprint of the model whose keys are stored; ``None`` if none is recorded."""

    @abstractmethod
    def claim(self, fingerprint: str) -> None:
        """Record the fingerprint of the model whose keys are stored, if none is recorded yet.

        Raises:
            ValueError: If the store holds keys of another model.
        """

    def __getstate__(self) -> dict[str, Any]:
        """Return what to copy or pickle; a lock belongs to its process."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, with a lock of its own."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._lock = threading.RLock()

    def __bool__(self) -> bool:
        """A store is true even if it is empty."""
        return True


def store_of(storage: Storage) -> Store:
    """Return the owner of what a storage keeps.

    Raises:
        ValueError: If the storage keeps no entries apart, so that none can be cited or forgotten.
    """
    if isinstance(storage, ExternalStorage):
        return EngineStore(storage)
    if isinstance(storage, SlotStorage):
        return SlotStore(storage)
    raise ValueError(
        f"a lasting memory needs a storage that keeps entries apart; {type(storage).__name__} is none"
    )


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
            # More rows than there is room for overwrite each other.
            slots = slots.masked_fill(~mask_repeats(slots, slots >= 0), -1)
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


@final
class EngineStore(Store):
    """Rows on disk or on a server; the ``state_dict`` holds the manifest alone.

    Args:
        storage: A storage with an engine.
    """

    storage: ExternalStorage

    def snapshot(self) -> State:
        """See ``Store.snapshot``: a handle; each search reads one version."""
        return self.storage.initial_state()

    def add(self, key: Tensor, value: Tensor, sources: str | Sequence[str] = "") -> Tensor:
        """See ``Store.add``."""
        with self._lock:
            return self.storage.engine.add(key.detach().float().cpu(), value.detach().float().cpu(), sources)

    def load(self, rows: Rows) -> Tensor:
        """See ``Store.load``; a ``PackedEngine`` keeps the times."""
        engine = self.storage.engine
        return engine.load(rows) if isinstance(engine, PackedEngine) else super().load(rows)

    def erase(self, rows: Tensor, *, purge: bool = False) -> int:
        """See ``Store.erase``."""
        with self._lock:
            return self.storage.engine.erase(rows.cpu(), purge=purge)

    def origins(self, rows: Tensor) -> list[Origin | None]:
        """See ``Store.origins``."""
        return self.storage.engine.origins(rows.cpu())

    def scan(self, sources: Sequence[str] | None = None) -> Iterator[Rows]:
        """See ``Store.scan``."""
        return self.storage.engine.scan(sources)

    def sources(self) -> dict[str, int]:
        """See ``Store.sources``."""
        return self.storage.engine.sources()

    def __len__(self) -> int:
        """See ``Store.__len__``."""
        return self.storage.engine.count()

    @property
    def fingerprint(self) -> str | None:
        """See ``Store.fingerprint``."""
        found: str | None = self.storage.engine.manifest.get("fingerprint")
        return found

    def claim(self, fingerprint: str) -> None:
        """See ``Store.claim``."""
        self.storage.engine.claim(fingerprint)

    def get_extra_state(self) -> dict[str, Any]:
        """Return the manifest, for the ``state_dict``."""
        return dict(self.storage.engine.manifest)

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Check that the store is the one whose manifest was saved.

        Raises:
            ValueError: If sizes, metric or model differ.
        """
        own = self.storage.engine.manifest
        differing = [
            name for name, value in state.items() if own.get(name) not in (None, value) and value is not None
        ]
        if differing:
            raise ValueError(
                "the checkpoint belongs to another store: "
                + ", ".join(f"{name} is {state[name]!r} there and {own[name]!r} here" for name in differing)
            )


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
