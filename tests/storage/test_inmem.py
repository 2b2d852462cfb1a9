from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from caveau.framework.errors import InvalidRequest
from caveau.storage.inmem import InmemStore

from .conformance import Conformance


class TestConformance(Conformance):
    @pytest.fixture
    async def store(self) -> AsyncIterator[InmemStore]:
        store = InmemStore()
        await store.open()
        yield store
        await store.close()


def test_unknown_settings_are_named() -> None:
    with pytest.raises(InvalidRequest, match="path, size"):
        InmemStore.from_config({"size": "1", "path": "x"})
    assert isinstance(InmemStore.from_config({}), InmemStore)
