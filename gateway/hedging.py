"""A hedge: a second candidate is asked while the first is silent, and whoever answers first is heard.

Only where a route asks for it (`hedge_after_ms`): the one that is not heard is billed at its hold, for nobody knows
what its provider charges.
"""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.call import Attempt, Call
from gateway.ending import record_attempt, settle_attempt
from gateway.exchange import ask, bill_the_hold
from gateway.plane import Plane
from gateway.streaming import Flow
from llmobs.core import semconv

HEDGED = "hedged"


async def hedged(
    call: Call, first: Attempt, plane: Plane, another: Callable[[], Awaitable[Attempt | None]]
) -> Flow | None:
    """As `ask`, of the attempt that answers first, which becomes the call's. Raises AttemptFailed when none does."""
    assert call.route is not None
    one = asyncio.create_task(ask(call, first, plane))
    tasks = {one: first}
    try:
        await asyncio.wait(tasks, timeout=call.route.hedge_after_ms / 1000)
        if not one.done():
            second = await another()
            if second is not None:
                tasks[asyncio.create_task(ask(call, second, plane))] = second
        winner = await _first_good(tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task, attempt in tasks.items():
            if attempt is not call.attempt:
                await _drop(call, task, attempt, plane)
        raise
    call.attempt = tasks.pop(winner)
    for task, attempt in tasks.items():
        await _drop(call, task, attempt, plane)
    return winner.result()


async def _first_good(tasks: dict["asyncio.Task[Flow | None]", Attempt]) -> "asyncio.Task[Flow | None]":
    """The first task whose attempt answered; else the last that failed."""
    waiting = set(tasks)
    last = next(iter(tasks))
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task.exception() is None and (task.result() is not None or tasks[task].outcome.status == semconv.OK):
                return task
            last = task
    return last


async def _drop(call: Call, task: "asyncio.Task[Flow | None]", attempt: Attempt, plane: Plane) -> None:
    """End an attempt that is not heard."""
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    flow = None if task.cancelled() or task.exception() is not None else task.result()
    outcome = attempt.outcome
    if flow is not None:
        flow.connection.close()
        bill_the_hold(attempt)
    if flow is not None or task.cancelled():
        outcome.status, outcome.error_type = semconv.OK, HEDGED
    record_attempt(call, attempt, plane)
    settle_attempt(call, attempt, plane)
