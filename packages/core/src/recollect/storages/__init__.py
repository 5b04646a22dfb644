"""Storages: how a memory is kept."""

from recollect.state import Entries, Read
from recollect.storages.base import Storage
from recollect.storages.disk import DiskStorage
from recollect.storages.engine import Engine, Found, Origin, Rows
from recollect.storages.external import ExternalStorage
from recollect.storages.external_state import ExternalState
from recollect.storages.hash import HashStorage
from recollect.storages.hash_state import HashState
from recollect.storages.linked import LinkedStorage
from recollect.storages.linked_state import LinkedState
from recollect.storages.ordered import OrderedStorage
from recollect.storages.packed import PackedStorage
from recollect.storages.remote import RemoteStorage
from recollect.storages.slot import SlotStorage, capacity
from recollect.storages.temporal_link import TemporalLinkState, TemporalLinkStorage
from recollect.storages.vector import VectorStorage
from recollect.storages.vector_state import VectorState

__all__ = [
    "DiskStorage",
    "Engine",
    "Entries",
    "ExternalState",
    "ExternalStorage",
    "Found",
    "HashState",
    "HashStorage",
    "LinkedState",
    "LinkedStorage",
    "OrderedStorage",
    "Origin",
    "PackedStorage",
    "Read",
    "RemoteStorage",
    "Rows",
    "SlotStorage",
    "Storage",
    "TemporalLinkState",
    "TemporalLinkStorage",
    "VectorState",
    "VectorStorage",
    "capacity",
]
