from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from caveau.server.eager import Begun, begin


async def idle() -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def task() -> Any:
    task = asyncio.create_task(idle())
    await asyncio.sleep(0)
    yield task
    task.cancel()


def run_in(task: asyncio.Task[Any], work: Callable[[], Awaitable[Any]]) -> Any:
    """``begin`` as the event loop calls a protocol: with no task of its own."""
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome.append(begin(work(), task, asyncio.get_running_loop()))  # type: ignore[arg-type]
        except Exception as error:
            outcome.append(error)

    asyncio.get_running_loop().call_soon(call)
    return outcome


async def test_what_never_waits_is_done_at_once(task: asyncio.Task[Any]) -> None:
    async def work() -> Any:
        return asyncio.current_task()

    outcome = run_in(task, work)
    await asyncio.sleep(0)
    assert outcome == [task]


async def test_an_error_before_the_first_wait_is_raised(task: asyncio.Task[Any]) -> None:
    async def work() -> None:
        raise ValueError("early")

    outcome = run_in(task, work)
    await asyncio.sleep(0)
    assert [str(error) for error in outcome] == ["early"]


async def test_what_waits_goes_on_in_the_task_that_finishes_it(task: asyncio.Task[Any]) -> None:
    gate = asyncio.get_running_loop().create_future()

    async def work() -> str:
        await asyncio.sleep(0)
        first = await gate
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        return str(first)

    (begun,) = await _begun(task, work)
    gate.set_result("waited")
    assert await begun.finish() == "waited"


async def test_it_may_wait_for_what_has_come_meanwhile(task: asyncio.Task[Any]) -> None:
    gate = asyncio.get_running_loop().create_future()

    async def work() -> str:
        return str(await gate)

    (begun,) = await _begun(task, work)
    gate.set_result("there")
    await asyncio.sleep(0)
    assert await begun.finish() == "there"


async def test_cancelling_reaches_what_waits(task: asyncio.Task[Any]) -> None:
    cleaned = []

    async def work() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cleaned.append(True)
            return "answered all the same"
        return "never"

    (begun,) = await _begun(task, work)
    finishing = asyncio.create_task(_finish(begun))
    await asyncio.sleep(0)
    finishing.cancel()
    assert await finishing == "answered all the same"
    assert cleaned


async def test_errors_after_the_wait_are_raised_where_it_is_finished(task: asyncio.Task[Any]) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise StopAsyncIteration("late")

    (begun,) = await _begun(task, work)
    with pytest.raises(StopAsyncIteration, match="late"):
        await begun.finish()


async def _begun(task: asyncio.Task[Any], work: Callable[[], Awaitable[Any]]) -> list[Begun[Any]]:
    outcome: list[Begun[Any]] = run_in(task, work)
    await asyncio.sleep(0)
    assert isinstance(outcome[0], Begun)
    return outcome


async def _finish(begun: Begun[Any]) -> Any:
    return await begun.finish()


async def test_it_goes_on_without_waking_its_task(task: asyncio.Task[Any]) -> None:
    gate = asyncio.get_running_loop().create_future()

    async def work() -> Any:
        return await gate, asyncio.current_task()

    (begun,) = await _begun(task, work)
    outcome: list[Any] = []
    assert begun.goes_on(lambda waited: outcome.append(begin(begun.work, task, asyncio.get_running_loop())))
    gate.set_result("waited")
    await asyncio.sleep(0)
    assert outcome == [("waited", task)]


@pytest.mark.parametrize("is_there", [False, True])
async def test_its_task_takes_over_when_it_is_cancelled(task: asyncio.Task[Any], is_there: bool) -> None:
    gate = asyncio.get_running_loop().create_future()

    async def work() -> str:
        try:
            return str(await gate)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            return "answered all the same"

    (begun,) = await _begun(task, work)
    called: list[Any] = []
    assert begun.goes_on(called.append)
    if is_there:
        gate.set_result("too late")
    assert await begun.finish(begun.cancelled(called.append)) == "answered all the same"
    assert gate.cancelled() is not is_there
    assert called == ([gate] if is_there else [])


async def test_a_bare_wait_is_for_the_task(task: asyncio.Task[Any]) -> None:
    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    (begun,) = await _begun(task, work)
    assert not begun.goes_on(lambda waited: None)
    assert await begun.finish() == "done"
