"""May it be sent: in one step the bound of its first attempt is held on every budget; then Begin is journalled."""

from gateway.admission import begin, hold, prepare
from gateway.call import Call
from gateway.ending import settle_attempt
from gateway.plane import Plane


async def admit(call: Call, plane: Plane) -> None:
    """Begin the first attempt. Raises Refusal."""
    assert plane.snapshot is not None
    attempt = prepare(call, call.candidates[0], plane.snapshot, call.started_ns, call.started)
    if attempt.applied:
        await hold(call, attempt, plane)
    try:
        begin(call, attempt, plane)
    except BaseException:
        settle_attempt(call, attempt, plane)
        raise
