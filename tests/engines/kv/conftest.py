from __future__ import annotations

import pytest
from caveau.engines.kv import factory


@pytest.fixture
def kv1(mount):
    return mount(factory, version="1")


@pytest.fixture
def kv2(mount):
    return mount(factory, version="2")
