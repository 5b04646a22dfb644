"""Storages: how a memory is kept."""

from recollect.state import Entries, Read
from recollect.storages.base import Storage
from recollect.storages.hash import HashState, HashStorage
from recollect.storages.linked import LinkedState, LinkedStorage
from recollect.storages.ordered import OrderedStorage
from recollect.storages.slot import SlotStorage, capacity
from recollect.storages.temporal_link import TemporalLinkState, TemporalLinkStorage
from recollect.storages.vector import VectorStorage
from recollect.storages.vector_state import VectorState

__all__ = [
    "Entries",
    "HashState",
    "HashStorage",
    "LinkedState",
    "LinkedStorage",
    "OrderedStorage",
    "Read",
    "SlotStorage",
    "Storage",
    "TemporalLinkState",
    "TemporalLinkStorage",
    "VectorState",
    "VectorStorage",
    "capacity",
]
