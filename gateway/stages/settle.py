"""Give back what was not used: the hold becomes what the call cost, or goes back whole where nothing was charged.

Sent without waiting for the reply: the journal has End, and the writer's fold ends a hold whose settlement was lost.
"""

from gateway.call import Call
from gateway.plane import Plane


def settle(call: Call, plane: Plane) -> None:
    """Settle or release the call's holds. Never raises."""
    if not call.is_held:
        return
    usage, cost_nanousd = call.outcome.usage, call.outcome.cost_nanousd
    if not call.has_begun or usage is None:
        plane.holds.give_back(call.attempt)
    else:
        plane.holds.settle(call.attempt, cost_nanousd, usage.total)
    if call.left_nanousd is not None:
        call.left_nanousd += (call.held_nanousd or 0) - (cost_nanousd or 0)
