"""A small model with a lasting memory, whose rows are in each of the storages."""

from functools import partial

import pytest
import torch
from torch import nn

from recollect import HashStorage, Interpolation, LinkedStorage, NeighborMemory, VectorStorage, augment
from recollect.storages.external import ExternalStorage
from recollect.testing import ListEngine

D, CLASSES = 8, 5

STORAGES = {
    "vector": lambda: VectorStorage(D, 1, slots=64),
    "one-hot": lambda: VectorStorage(D, CLASSES, slots=64),
    "hash": lambda: HashStorage(D, 1, buckets=2, capacity=64, tables=4, entries=64),
    "linked": lambda: LinkedStorage(D, 1, slots=64),
    "engine": lambda: ExternalStorage(ListEngine(D, 1, metric="l2")),
}


@pytest.fixture(params=STORAGES)
def make_storage(request):
    """Makes storages of width D for classes."""
    return STORAGES[request.param]


@pytest.fixture
def storage(make_storage):
    """A storage of width D for classes."""
    return make_storage()


@pytest.fixture
def make_model():
    """Makes classifiers of 3 features, all alike, with a lasting memory at their last layer."""

    def make(storage, gate=0.5, k=4, **options):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, D), nn.Tanh(), nn.Linear(D, CLASSES))
        memory = NeighborMemory(D, storage, classes=CLASSES, k=k)
        return augment(model, at="2", memory=memory, integration=partial(Interpolation, gate=gate, **options))

    return make
