"""Rows of a lasting memory in an engine: on disk, on a server or as codes."""

from collections.abc import Iterator, Sequence
from typing import Any, final

from torch import Tensor

from recollect.memories.store import Store
from recollect.state import State
from recollect.storages.engine import Origin, Rows
from recollect.storages.external import ExternalStorage
from recollect.storages.packed_engine import PackedEngine


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
