"""Sends the call, and tries again where that helps: the same candidate after a pause, then the next.

1. An attempt that fails before its first byte is journalled and settled; the next one holds anew. Never after the
   first byte, and never where the caller caused the error.
2. A cascade goes on too when the cheap answer looks too poor; a hedge asks a second one while the first is silent.
3. When nobody answered: the route's last resort, else the last one's error, in the caller's format.
"""

from math import ceil

from gateway.call import Call
from gateway.errors import AttemptFailed, ProviderUnavailable
from gateway.last_resort import answer_of, rescued
from gateway.plane import Plane
from gateway.tries import Tries


async def forward(call: Call, plane: Plane) -> None:
    """Fill the answer (of a stream: its last bytes). Raises AttemptFailed, Refusal."""
    if call.answer is not None:  # it was in the cache
        return
    try:
        if call.attempt is None:
            raise _all_open(call, plane)
        tries = Tries(call, plane)
        flow = await tries.until_answered()
        if flow is not None:
            await flow.run()
        if tries.has_failed and await rescued(call, plane):
            return
    except AttemptFailed:
        if not await rescued(call, plane):
            raise
        return
    attempt, asked = call.attempt, call.asked
    assert attempt is not None
    call.answer = answer = attempt.answer
    if asked is not None and asked.is_stream and not attempt.streams and answer is not None and answer.status == 200:
        call.answer = answer_of(call, answer.body)  # a cascade's, asked for whole


def _all_open(call: Call, plane: Plane) -> ProviderUnavailable:
    """Nobody may be asked; `retry-after` says when the next one may."""
    model = repr(call.asked.model) if call.asked is not None else "the model"
    failure = ProviderUnavailable(f"no provider of {model} may be asked now: their breakers are open")
    # Of a route, who may not be asked is no candidate at all.
    candidates = call.candidates or (call.route.candidates if call.route is not None else ())
    seconds = max(1, ceil(plane.health.until_probe_s(candidates)))
    failure.headers.append((b"retry-after", b"%d" % seconds))
    return failure
