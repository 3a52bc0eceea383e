"""Give back what was not used: holds of budgets, tokens and slots of limits; store what may be asked again."""

from gateway.call import Call
from gateway.ending import settle_attempt
from gateway.plane import Plane


def settle(call: Call, plane: Plane) -> None:
    """Settle or release all that the call holds. Never raises."""
    attempt = call.attempt
    if attempt is not None:
        settle_attempt(call, attempt, plane)
    if call.cached is not None:
        plane.counts.cached[call.cache] += 1
        plane.cache.ended(call, call.cached)
    if call.limits is not None:
        command = plane.rates.settle(call, call.limits)
        if command is not None:
            plane.holds.tell(command)
