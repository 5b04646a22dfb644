"""A small classifier with a lasting memory, served in this process."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from torch import nn

from recollect.serving import InputSpec, make_app
from recollect.storages.external import ExternalStorage

sys.path.insert(0, str(Path(__file__).parent))

from served_model import SlowEngine, make_classifier


@pytest.fixture
def engine() -> SlowEngine:
    """Where the rows of ``slow`` are."""
    return SlowEngine()


@pytest.fixture
def slow(engine: SlowEngine) -> nn.Module:
    """A classifier whose rows are in ``engine``."""
    return make_classifier(ExternalStorage(engine))


@pytest.fixture
def serve() -> Iterator[Callable[..., TestClient]]:
    """Serve a model in this process until the test ends."""
    clients = []

    def start(model: nn.Module, inputs: Any = "float32[3]", **options: Any) -> TestClient:
        specs = InputSpec.parse(inputs) if isinstance(inputs, str) else inputs
        client = TestClient(make_app(model, specs, **options), raise_server_exceptions=False)
        clients.append(client)
        client.__enter__()
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(serve: Callable[..., TestClient]) -> TestClient:
    """A classifier, served."""
    return serve(make_classifier())
