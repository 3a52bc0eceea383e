"""Sends the call to its provider and brings back what comes: a whole answer, or a stream as it flows.

The outcome of each fault is defined (Failure in brackets: what the caller gets):
- not reached: nothing charged [503 / 529]. Timed out, cut or garbage: it may be charged, so it keeps its hold as its
  bill, estimated [504, 503 / 529, 502].
- the provider's own error: nothing charged, passed on with its status and body.
- a stream that breaks after its beginning: an error event as its last; billed by what was seen, estimated.
"""

import asyncio

from gateway.call import Call
from gateway.connection import ConnectFailed, Connection, NotHttp, TimedOut, UpstreamError
from gateway.errors import AttemptFailed, ProviderGarbage, ProviderTimeout, ProviderUnavailable
from gateway.headers import request_head
from gateway.plane import Plane
from gateway.streaming import stream
from gateway.whole import MOST_ANSWER_BYTES, whole
from llmobs.core import semconv


async def forward(call: Call, plane: Plane) -> None:
    """Fill the outcome and the answer (of a stream: its last bytes). Raises AttemptFailed, with the outcome filled."""
    try:
        await _exchange(call, plane)
    except UpstreamError as error:
        failure = _failure(error)
        _fill(call, failure)
        raise failure from None
    except AttemptFailed as failure:
        _fill(call, failure)
        raise


async def _exchange(call: Call, plane: Plane) -> None:
    assert call.asked is not None
    assert call.candidate is not None
    assert plane.snapshot is not None
    target = plane.snapshot.targets[call.candidate.provider.id]
    if target.error:
        # The reason may name variables and paths of ours: it is in the log and in `doctor`, not in a tenant's error.
        whose = call.candidate.provider.name
        message = f"provider {whose} cannot be called: its credential or address is wrong (`manage.py doctor` says how)"
        raise ProviderUnavailable(message, may_be_billed=False)
    body = call.dialect.for_upstream(call.body, call.candidate.model, call.asked)
    connection: Connection = await plane.upstream.connect(target.origin, call.first_byte_seconds)
    try:
        connection.send(request_head(call, target.head, len(body)), body, MOST_ANSWER_BYTES)
        now = asyncio.get_running_loop().time()
        if call.asked.is_stream:
            await stream(call, connection, now + call.first_byte_seconds)
        else:
            await whole(call, connection, now + call.whole_seconds)
    except (UpstreamError, AttemptFailed):
        raise
    except BaseException:
        _bill_the_hold(call)  # cancelled, or a fault of our own: the provider may have worked
        raise
    finally:
        connection.done()


def _failure(error: UpstreamError) -> AttemptFailed:
    if isinstance(error, ConnectFailed):
        return ProviderUnavailable(f"the provider cannot be reached: {error}", may_be_billed=False)
    if isinstance(error, TimedOut):
        return ProviderTimeout("the provider did not answer in time")
    if isinstance(error, NotHttp):
        return ProviderGarbage(str(error))
    return ProviderUnavailable(str(error))


def _fill(call: Call, failure: AttemptFailed) -> None:
    outcome = call.outcome
    outcome.status = semconv.TIMED_OUT if isinstance(failure, ProviderTimeout) else semconv.FAILED
    outcome.error_type = failure.reason
    if failure.may_be_billed:
        _bill_the_hold(call)


def _bill_the_hold(call: Call) -> None:
    call.outcome.usage = call.held_usage
    call.outcome.is_estimated = True
