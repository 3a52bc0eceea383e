"""When no candidate answered: the cached answer to the same request, then the route's static text, as the route says.

Both say what they are: `x-llmobs-degraded: stale_cache` or `static`. They cost nothing; what failed before them is
billed as it was. An error that the caller caused is never covered up, and neither is a refusal of ours: who has spent
a budget or passed a limit is told so.
"""

from gateway.call import Answer, Attempt, Call
from gateway.dialects.dialect import BadRequest
from gateway.dialects.replay import as_stream, own_id, static_answer
from gateway.ending import record_attempt, settle_attempt
from gateway.plane import Plane
from gateway.routing.retrying import CALLER, kind_of_status
from llmobs.core.ids import new_trace_id

STALE_CACHE, STATIC = "stale_cache", "static"


async def rescued(call: Call, plane: Plane) -> bool:
    """Fill the answer by what the route allows; False where there is nothing."""
    route, attempt = call.route, call.attempt
    if route is None or not route.last_resort or call.is_client_gone or call.asked is None:
        return False
    if attempt is not None and _is_callers(attempt):
        return False
    for resort in route.last_resort:
        if resort == STATIC and says(call, route.static_text):
            break
        if resort == STALE_CACHE and await plane.cache.stale(call):
            break
    else:
        return False
    if attempt is not None:
        _put_aside(call, attempt, plane)
    return True


def _is_callers(attempt: Attempt) -> bool:
    status, error_type = attempt.outcome.http_status, attempt.outcome.error_type
    return status >= 400 and kind_of_status(status, error_type) == CALLER


def says(call: Call, text: str) -> bool:
    """Answer with the text; False: there is none, or the operation has no answer in words."""
    assert call.asked is not None
    if not text:
        return False
    response_id = own_id(call.dialect, new_trace_id().hex())
    try:
        call.answer = answer_of(call, static_answer(call.dialect, text, call.asked.model, response_id))
    except BadRequest:
        return False
    call.answered_id = response_id
    call.degraded = STATIC
    call.own_headers.append((b"x-llmobs-attempts", b"%d" % len(call.attempts)))
    return True


def _put_aside(call: Call, attempt: Attempt, plane: Plane) -> None:
    """The answer is no attempt's: the call has a span of its own, and its headers name nobody who failed."""
    if not attempt.is_recorded:
        call.goes_on()
        record_attempt(call, attempt, plane)
        settle_attempt(call, attempt, plane)
    call.attempt = None


def answer_of(call: Call, body: bytes) -> Answer:
    """A whole answer in the form that the caller asked for."""
    assert call.asked is not None
    if call.asked.is_stream:
        stream = as_stream(call.dialect, body, call.asked.wants_usage)
        return Answer(200, [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")], stream, True)
    return Answer(200, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))], body)
