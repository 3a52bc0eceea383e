"""May it be sent: in one step the limits that apply are taken, and the bound of its first attempt is held on every
budget; then Begin is journalled.
"""

from gateway import front
from gateway.admission import begin, hold, prepare
from gateway.call import Attempt, Call
from gateway.ending import settle_attempt
from gateway.plane import Plane
from gateway.rates import Asking
from llmobs.budgets.ledger import Ahead


async def admit(call: Call, plane: Plane) -> None:
    """Begin the first attempt. Raises Refusal."""
    snapshot = plane.snapshot
    assert snapshot is not None
    plane.rates.cap(call, snapshot)
    attempt = prepare(call, call.candidates[0], snapshot, call.started_ns, call.started)
    asking = call.limits = plane.rates.asking(call, snapshot)
    if asking is not None:
        await _take(call, attempt, asking, plane)
    elif attempt.applied:
        await hold(call, attempt, plane)
    try:
        begin(call, attempt, plane)
    except BaseException:
        settle_attempt(call, attempt, plane)
        raise


async def _take(call: Call, attempt: Attempt, asking: Asking, plane: Plane) -> None:
    """Take of all limits and hold on all budgets, or neither. Raises Refusal."""
    asked = front.front(*asking.words())
    answer = await hold(call, attempt, plane, asked) if attempt.applied else None
    if answer is None:  # no budgets, or none that must be held: their ledger may recover while limits hold
        answer = await front.ask_alone(asked, plane)
    if answer is None:
        plane.rates.take_locally(call, asking)
    elif isinstance(answer, Ahead):
        raise plane.rates.refused(call, asking, answer.reply)
    else:
        plane.rates.granted(call, asking, answer, 0)
