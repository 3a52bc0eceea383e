"""A hedge: a second candidate is asked while the first is silent, and whoever answers first is heard.

Only where a route asks for it (`hedge_after_ms`). The one that is not heard is ended: billed at its hold, for nobody
knows what its provider charges, and neither its provider's fault nor its merit. One that failed by itself is told to
its breaker as any other.
"""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.call import Attempt, Call
from gateway.ending import record_attempt, settle_attempt
from gateway.errors import AttemptFailed
from gateway.exchange import ask, bill_the_hold
from gateway.plane import Plane
from gateway.streaming import Flow
from llmobs.core import semconv

HEDGED = "hedged"

Asking = asyncio.Task[Flow | None]
# An attempt, how it failed, whether it is the one not heard: whether the hedge ends with it.
Heard = Callable[[Attempt, AttemptFailed | None, bool], bool]


async def hedged(
    call: Call, first: Attempt, plane: Plane, another: Callable[[], Awaitable[Attempt | None]], heard: Heard
) -> Flow | None:
    """As `ask`, of the attempt that answers first, which becomes the call's; of the second where both fail.

    Raises AttemptFailed.
    """
    assert call.route is not None
    tasks: dict[Asking, Attempt] = {asyncio.create_task(ask(call, first, plane)): first}
    try:
        done, _ = await asyncio.wait(tasks, timeout=call.route.hedge_after_ms / 1000)
        if not done:
            second = await another()
            if second is not None:
                tasks[asyncio.create_task(ask(call, second, plane))] = second
        winner = await _first_heard(tasks, heard)
    except BaseException:
        for task, attempt in tasks.items():
            await _stop(task)
            if attempt is not first:  # the first is the call's own to end
                _drop(call, task, attempt, plane, heard)
        raise
    heard_attempt = tasks.pop(winner)
    if heard_attempt.has_begun:  # else there was none
        call.attempt = heard_attempt
    for task, attempt in tasks.items():
        await _stop(task)
        _drop(call, task, attempt, plane, heard)
    return winner.result()


async def _first_heard(tasks: dict[Asking, Attempt], heard: Heard) -> Asking:
    """The first task whose attempt ends the hedge; where none does, the second. One that was never sent is nobody."""
    waiting = set(tasks)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in [task for task in tasks if task in done]:
            failure = task.exception()
            if not tasks[task].has_begun:
                continue
            if (failure is not None and not isinstance(failure, AttemptFailed)) or heard(tasks[task], failure, False):
                return task
    begun = [task for task in tasks if tasks[task].has_begun]
    return (begun or list(tasks))[-1]


async def _stop(task: Asking) -> None:
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _drop(call: Call, task: Asking, attempt: Attempt, plane: Plane, heard: Heard) -> None:
    """End an attempt that is not heard."""
    if not attempt.has_begun:  # never sent: it has ended itself
        plane.health.neither(attempt.candidate, attempt.verdict)
        return
    failure = None if task.cancelled() else task.exception()
    flow = None if task.cancelled() or failure is not None else task.result()
    if flow is not None:
        flow.connection.close()
        bill_the_hold(attempt)
    if flow is not None or task.cancelled():
        attempt.outcome.status, attempt.outcome.error_type = semconv.OK, HEDGED
        plane.health.neither(attempt.candidate, attempt.verdict)
    else:
        heard(attempt, failure if isinstance(failure, AttemptFailed) else None, True)
    record_attempt(call, attempt, plane)
    settle_attempt(call, attempt, plane)
