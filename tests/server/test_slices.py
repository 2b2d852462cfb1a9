"""Long work lets others run between its slices, and only then."""

from __future__ import annotations

import asyncio

import pytest
from caveau.server import slices


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the test sets, in a list of one."""
    now = [0.0]
    monkeypatch.setattr(slices, "perf_counter", lambda: now[0])
    return now


async def test_others_run_after_each_slice(clock):
    ran = []
    work = slices.Slices()
    asyncio.get_running_loop().call_soon(ran.append, "other")
    clock[0] = 0.0002
    await work.next()
    assert not ran
    clock[0] = 0.0003
    await work.next()
    assert ran == ["other"]
    asyncio.get_running_loop().call_soon(ran.append, "another")
    clock[0] = 0.0005
    await work.next()
    assert ran == ["other"]
