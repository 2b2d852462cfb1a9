"""A live server for bad input, and the check after every test that it took no harm."""

from __future__ import annotations

from collections.abc import Iterator

import hvac
import pytest

from ..peers import Server, bao_server, bao_server_sealed, caveau_server, caveau_server_sealed
from .wire import Request, exchange

PRODUCTS = ("caveau", pytest.param("bao", marks=pytest.mark.peer))


@pytest.fixture(scope="session", params=PRODUCTS)
def product(request: pytest.FixtureRequest) -> str:
    """Whom the case is tried on. OpenBao's answers are in the tables too, and held against the real one."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def _dev_server(product: str) -> Iterator[Server]:
    start = {"caveau": caveau_server, "bao": bao_server}[product]
    with start() as server:
        yield server
        if product == "caveau":  # what a client does wrong is no error of the server's
            _, found, first = server.log.read_text(errors="replace").partition("Traceback")
            assert not found, first[:2000]


@pytest.fixture
def live(_dev_server: Server) -> Iterator[Server]:
    """A dev server with the root token `root`; it must still answer when the test is over."""
    yield _dev_server
    health = exchange(_dev_server, [Request(target="/v1/sys/health").render(_dev_server)])
    assert health.status == 200


@pytest.fixture(scope="session")
def sealed(product: str) -> Iterator[Server]:
    """A server that was initialised with three keys of which two unseal it, and is sealed."""
    start = {"caveau": caveau_server_sealed, "bao": bao_server_sealed}[product]
    with start() as server:
        client = hvac.Client(url=server.address, token="")
        client.sys.initialize(3, 2)
        yield server
        assert client.sys.is_sealed()
        client.adapter.close()
