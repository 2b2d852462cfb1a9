"""A real OpenBao, one for all of these tests."""

from collections.abc import Iterator

import pytest

from ...peers import Server, bao_server


@pytest.fixture(scope="session")
def bao() -> Iterator[Server]:
    with bao_server() as server:
        yield server
