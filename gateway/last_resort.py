"""When no candidate answered: the cached answer to the same request, then the route's static text, as the route says.

Both say what they are: `x-llmobs-degraded: stale_cache` or `static`. They cost nothing; what failed before them is
billed as it was. An error that the caller caused is never covered up.
"""

from gateway.call import Answer, Call
from gateway.dialects.replay import as_stream, static_answer
from gateway.plane import Plane
from llmobs.core.ids import new_trace_id

STALE_CACHE, STATIC = "stale_cache", "static"
CALLER_STATUSES = frozenset({400, 404, 413, 422})


async def rescued(call: Call, plane: Plane) -> bool:
    """Fill the answer by what the route allows; False where there is nothing."""
    route, attempt = call.route, call.attempt
    if route is None or not route.last_resort or call.is_client_gone or call.asked is None:
        return False
    if attempt is not None and attempt.outcome.http_status in CALLER_STATUSES:
        return False
    for resort in route.last_resort:
        if resort == STATIC and route.static_text:
            body = static_answer(call.dialect, route.static_text, call.asked.model, _fresh_id(call))
            call.degraded = STATIC
            call.answer = answer_of(call, body)
            return _answered(call)
        if resort == STALE_CACHE and await plane.cache.stale(call):
            return _answered(call)
    return False


def _answered(call: Call) -> bool:
    """The answer is no attempt's: where one failed before it, the call has a span of its own."""
    if call.is_one_attempt and not call.attempts[0].is_recorded:
        call.goes_on()
    return True


def answer_of(call: Call, body: bytes) -> Answer:
    """A whole answer in the form that the caller asked for."""
    assert call.asked is not None
    if call.asked.is_stream:
        stream = as_stream(call.dialect, body, call.asked.wants_usage)
        return Answer(200, [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")], stream, True)
    return Answer(200, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))], body)


def _fresh_id(call: Call) -> str:
    return f"{'msg_' if call.dialect.name == 'anthropic' else 'chatcmpl-'}{new_trace_id().hex()}"
