"""Sends the call, and tries again where that helps: the same candidate after a pause, then the next.

1. An attempt that fails before its first byte is journalled and settled; the next one holds anew. Never after the
   first byte, and never where the caller caused the error.
2. When nobody answered: the error of the last one, in the caller's format.
"""

from gateway.call import Call
from gateway.exchange import ask
from gateway.plane import Plane


async def forward(call: Call, plane: Plane) -> None:
    """Fill the answer (of a stream: its last bytes). Raises AttemptFailed, Refusal."""
    attempt = call.attempt
    if attempt is None:  # it has its answer: nothing was begun
        return
    flow = await ask(call, attempt, plane)
    if flow is not None:
        await flow.run()
    call.answer = attempt.answer
