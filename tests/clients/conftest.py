"""The servers that client libraries are tried on: Caveau, and OpenBao to prove that the tests tell the truth."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import hvac
import pytest

from ..peers import Server, bao_server, bao_server_sealed, caveau_server, caveau_server_sealed

PRODUCTS = ("caveau", pytest.param("bao", marks=pytest.mark.peer))
_numbers = itertools.count()


@pytest.fixture(scope="session", params=PRODUCTS)
def dev_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A dev server, shared by the whole run: a test works under mounts and names of its own."""
    start = {"caveau": caveau_server, "bao": bao_server}[request.param]
    with start() as server:
        yield server


@pytest.fixture(params=PRODUCTS)
def new_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that nobody has initialised, for one test."""
    start = {"caveau": caveau_server_sealed, "bao": bao_server_sealed}[request.param]
    with start() as server:
        yield server


@pytest.fixture
def root(dev_server: Server) -> Iterator[hvac.Client]:
    """hvac with the root token of the dev server."""
    client = hvac.Client(url=dev_server.address, token=dev_server.token)
    yield client
    client.adapter.close()


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"t{next(_numbers)}"
