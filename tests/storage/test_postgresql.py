from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from caveau.storage.postgresql.store import PostgresqlStore
from caveau.tests.postgresql import Cluster

from .conformance import Conformance


@pytest.fixture(scope="module")
def database(postgresql: Cluster) -> str:
    return postgresql.database()


@pytest.fixture
def url(postgresql: Cluster, database: str) -> str:
    """Of an empty database."""
    postgresql.psql("SET client_min_messages = error; DROP TABLE IF EXISTS caveau_store, caveau_leader", database)
    return postgresql.url(database)


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgresqlStore]:
    store = PostgresqlStore(url)
    await store.open()
    yield store
    await store.close()


class TestConformance(Conformance):
    @pytest.fixture
    def store(self, store: PostgresqlStore) -> PostgresqlStore:
        return store
