"""Give back what was not used: holds of budgets, tokens and slots of limits; store what may be asked again."""

from gateway.call import Call
from gateway.ending import is_usual, settle_attempt, settle_usually
from gateway.plane import Plane


def settle(call: Call, plane: Plane) -> None:
    """Settle or release all that the call holds. Never raises."""
    attempt = call.attempt
    if attempt is not None and attempt.usual is not None and is_usual(call, attempt, plane):
        settle_usually(call, attempt, plane)
        limited = None
    else:
        limited = plane.rates.settle(call, call.limits) if call.limits is not None else None
    if attempt is not None and attempt.is_held:
        settle_attempt(call, attempt, plane, limited)
    elif limited is not None:
        plane.holds.tell(limited)
    if call.braking is not None:
        plane.brake.ended(call)
    if call.cached is not None:
        plane.counts.cached[call.cache] += 1
        plane.cache.ended(call, call.cached)
