"""One attempt's exchange with its provider, in two steps: until it is sure that it answers, and the rest of a stream.

The outcome of each fault is defined (Failure in brackets: what the caller gets if nobody else answers):
- not reached: nothing charged [503 / 529]. Timed out, cut or garbage: it may be charged, so it keeps its hold as its
  bill, estimated [504, 503 / 529, 502].
- the provider's own error: nothing charged, passed on with its status and body.
- a stream that breaks after its beginning: an error event as its last; billed by what was seen, estimated.
"""

import asyncio

import msgspec

from gateway.call import Attempt, Call
from gateway.connection import ConnectFailed, NeverSent, NotHttp, TimedOut, Untrusted, UpstreamError
from gateway.ending import settle_attempt
from gateway.errors import (
    AttemptFailed,
    ProviderGarbage,
    ProviderMisconfigured,
    ProviderTimeout,
    ProviderUnavailable,
    not_recorded,
)
from gateway.headers import request_head
from gateway.patience import patience_with
from gateway.plane import Plane
from gateway.streaming import Flow, opened
from gateway.target import Target
from gateway.whole import MOST_ANSWER_BYTES, finish
from llmobs.core import semconv


async def ask(call: Call, attempt: Attempt, plane: Plane, most_seconds: float | None = None) -> Flow | None:
    """Send, and wait for the whole answer or a stream's first event. Fills the outcome; of a whole answer or an error
    the attempt's answer too. Gives the rest of a stream that has begun. Raises AttemptFailed.

    `most_seconds`: what is left for it, where that is less than its patience.
    """
    try:
        return await _ask(call, attempt, plane, most_seconds)
    except NeverSent as error:
        plane.recorder.is_writable = False
        _forget(call, attempt, plane)
        raise not_recorded(str(error)) from None
    except UpstreamError as error:
        failure = _failure(error)
        _fill(attempt, failure)
        raise failure from None
    except AttemptFailed as failure:
        _fill(attempt, failure)
        raise


async def _ask(call: Call, attempt: Attempt, plane: Plane, most_seconds: float | None) -> Flow | None:
    assert plane.snapshot is not None
    provider = attempt.candidate.provider
    target = plane.snapshot.targets.get(provider.id)
    if target is None:
        raise ProviderMisconfigured(f"provider {provider.name} was taken out of the configuration meanwhile")
    if target.error:
        # The reason may name variables and paths of ours: it is in the log and in `doctor`, not in a tenant's error.
        message = f"provider {provider.name} cannot be called: its credential or address is wrong"
        raise ProviderMisconfigured(f"{message} (`manage.py doctor` says how)")
    body = _body(call, attempt)
    attempt.credential = target.credential()
    lines = target.request_lines(attempt.speaks.serves, attempt.credential, attempt.candidate.model)
    first_byte_seconds, whole_seconds = patience_with(provider, call)
    seconds = first_byte_seconds if attempt.streams else whole_seconds
    if most_seconds is not None:
        seconds = min(seconds, most_seconds)
    now = asyncio.get_running_loop().time()
    deadline = now + seconds
    connection = target.origin.kept(now) or await plane.upstream.connect(
        target.origin, seconds, provider.connect_seconds
    )
    flow: Flow | None = None
    try:
        attempt.connection = connection
        if attempt.unrecorded:
            raise NeverSent(attempt.unrecorded)
        connection.send(request_head(call, attempt, lines, len(body)), body, MOST_ANSWER_BYTES)
        if attempt.streams:
            flow = await opened(call, attempt, connection, deadline)
        else:
            answer = await connection.whole(deadline)
            finish(call, attempt, connection.status, connection.headers, answer)
        if attempt.outcome.http_status >= 400:
            _hide_credential(attempt, target)
    except (UpstreamError, AttemptFailed):
        raise
    except BaseException:
        bill_the_hold(attempt)  # cancelled, or a fault of our own: the provider may have worked
        raise
    finally:
        if flow is None:
            connection.done()
    return flow


def _forget(call: Call, attempt: Attempt, plane: Plane) -> None:
    """Its Begin was not written, so nothing was sent: there was no such attempt."""
    attempt.has_begun = False
    settle_attempt(call, attempt, plane)
    call.attempts.remove(attempt)
    call.attempt = call.attempts[-1] if call.attempts else None


def _hide_credential(attempt: Attempt, target: Target) -> None:
    """A provider's error goes to the caller and into the journal; our credential does not."""
    outcome, answer = attempt.outcome, attempt.answer
    said = target.hidden(outcome.response_body, attempt.credential)
    if said == outcome.response_body or answer is None:
        return
    outcome.response_body, answer.body = said, target.hidden(answer.body, attempt.credential)
    answer.headers = [header for header in answer.headers if header[0] != b"content-length"]
    answer.headers.append((b"content-length", b"%d" % len(answer.body)))


def _body(call: Call, attempt: Attempt) -> bytes:
    if attempt.translation is not None:
        return attempt.body
    asked, body = call.asked, call.body
    assert asked is not None
    if asked.is_stream and not attempt.streams:
        body, asked = call.dialect.streaming(body, False), msgspec.structs.replace(asked, is_stream=False)
    return call.dialect.for_upstream(body, attempt.candidate.model, asked)


def _failure(error: UpstreamError) -> AttemptFailed:
    if isinstance(error, Untrusted):
        return ProviderMisconfigured(f"the provider cannot be reached: {error}")
    if isinstance(error, ConnectFailed):
        return ProviderUnavailable(f"the provider cannot be reached: {error}", may_be_billed=False)
    if isinstance(error, TimedOut):
        return ProviderTimeout("the provider did not answer in time")
    if isinstance(error, NotHttp):
        return ProviderGarbage(str(error))
    return ProviderUnavailable(str(error))


def _fill(attempt: Attempt, failure: AttemptFailed) -> None:
    outcome = attempt.outcome
    outcome.status = semconv.TIMED_OUT if isinstance(failure, ProviderTimeout) else semconv.FAILED
    outcome.error_type = failure.reason
    if failure.may_be_billed and outcome.usage is None:
        bill_the_hold(attempt)


def bill_the_hold(attempt: Attempt) -> None:
    """Nobody knows what the provider charges: its hold is its bill, estimated."""
    if attempt.is_billed:
        attempt.outcome.usage = attempt.held_usage
        attempt.outcome.is_estimated = True
