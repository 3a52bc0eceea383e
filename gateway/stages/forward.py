"""Sends the call, and tries again where that helps: the same candidate after a pause, then the next.

1. An attempt that fails before its first byte is journalled and settled; the next one holds anew. Never after the
   first byte, and never where the caller caused the error.
2. A cascade goes on too when the cheap answer looks too poor; a hedge asks a second one while the first is silent.
3. When nobody answered: the route's last resort, else the last one's error, in the caller's format.
"""

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
            raise ProviderUnavailable(f"no provider of {_model(call)} may be asked now: their breakers are open")
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


def _model(call: Call) -> str:
    return repr(call.asked.model) if call.asked is not None else "the model"
