"""How a memory is kept."""

from recollect.storages.base import Storage
from recollect.storages.hash import HashState, HashStorage
from recollect.storages.linked import LinkedStorage
from recollect.storages.links import Links
from recollect.storages.links_hard import HardLinks, HardLinksState
from recollect.storages.links_soft import SoftLinks, SoftLinksState
from recollect.storages.results import Entries, Read
from recollect.storages.vector import VectorState, VectorStorage

__all__ = [
    "Entries",
    "HardLinks",
    "HardLinksState",
    "HashState",
    "HashStorage",
    "LinkedStorage",
    "Links",
    "Read",
    "SoftLinks",
    "SoftLinksState",
    "Storage",
    "VectorState",
    "VectorStorage",
]
