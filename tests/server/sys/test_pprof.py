"""Profiles tell where, and never what."""

from __future__ import annotations

import asyncio

import pytest
from caveau.framework.errors import InvalidRequest, PermissionDenied, RateLimited
from caveau.tests.server.overhttp import serving


async def text(server, name, **data):
    response = await server.call("read", f"sys/pprof/{name}", data)
    assert response.content_type == "text/plain; charset=utf-8"
    return response.body.decode()


async def test_what_there_is(server):
    assert (await text(server, "")).startswith("goroutine: ")


async def test_tasks_and_threads(server):
    async def waiting_for_something():
        await asyncio.Event().wait()

    task = asyncio.create_task(waiting_for_something())
    await asyncio.sleep(0)
    found = await text(server, "goroutine")
    task.cancel()
    assert "waiting_for_something" in found
    assert "thread\n#\t" in found


async def test_objects_by_type(server):
    found = await text(server, "heap")
    assert " builtins.dict\n" in found
    assert server.root not in found


async def test_where_time_goes(server):
    found = await text(server, "profile", seconds="0.1")
    assert all(line.rpartition(" ")[2].isdigit() for line in found.splitlines())
    assert ";" in found


async def test_one_profile_at_a_time(server):
    first = asyncio.create_task(text(server, "profile", seconds=0.3))
    await asyncio.sleep(0)
    with pytest.raises(RateLimited):
        await text(server, "profile", seconds=0.3)
    await first
    await text(server, "profile", seconds=0.01)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("profile", {"seconds": 61}, "at most 60"),
        ("profile", {"seconds": 0}, "more than 0"),
        ("mutex", {}, "mutex is a profile of Go's runtime; there are: goroutine, heap, profile"),
    ],
)
async def test_what_there_is_not(server, name, data, message):
    with pytest.raises(InvalidRequest, match=message):
        await text(server, name, **data)


async def test_who_may_see_them(server):
    with pytest.raises(PermissionDenied):
        await server.call("read", "sys/pprof/heap", token="")
    async with serving(server) as client:
        assert (await client.ask("GET", "/v1/sys/pprof/heap", token="")).status == 403
    async with serving(server, unauthenticated_pprof_access=True) as client:
        assert (await client.ask("GET", "/v1/sys/pprof/heap", token="")).status == 200
        assert (await client.ask("GET", "/v1/sys/pprof/", token="")).status == 200
        assert (await client.ask("GET", "/v1/sys/pprof", token="")).status == 200
        assert (await client.ask("GET", "/v1/sys/metrics", token="")).status == 403
