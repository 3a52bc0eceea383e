"""The end of an attempt: its cost, End in the journal, and then its hold becomes what it cost, or goes back whole.

Settlement is sent without waiting for the reply: the journal has End, and the writer's fold ends a hold whose
settlement was lost.
"""

from gateway.call import Attempt, Call
from gateway.plane import Plane
from gateway.security import tell
from llmobs.budgets.ledger import Command
from llmobs.pricing.cost import cost
from llmobs.pricing.stated import stated_version


def record_attempt(call: Call, attempt: Attempt, plane: Plane) -> None:
    """Cost, once, where the usage is known; and End in the journal. Never raises."""
    outcome, counts = attempt.outcome, plane.counts
    if attempt.price is not None:
        outcome.price_version = attempt.price.version
        if outcome.usage is not None:
            outcome.cost_nanousd = cost(outcome.usage, attempt.price)
    if outcome.stated_nanousd is not None and plane.snapshot is not None:
        name = attempt.candidate.provider.name
        if name in plane.snapshot.book.trusted and outcome.usage is not None:
            outcome.cost_nanousd, outcome.price_version = outcome.stated_nanousd, stated_version(name)
    counts.cost_nanousd += outcome.cost_nanousd or 0
    if outcome.usage is not None:
        counts.tokens["input"] += outcome.usage.input_tokens
        counts.tokens["output"] += outcome.usage.output_tokens
    counts.calls[call.dialect.name, outcome.status] += 1
    if attempt.findings:
        tell(call, attempt.findings, counts)
    plane.recorder.end(call, attempt)
    attempt.is_recorded = True


def settle_attempt(call: Call, attempt: Attempt, plane: Plane, beside: Command | None = None) -> None:
    """Settle or release its holds. Never raises. `beside`: what the call's limits have to settle in the same step."""
    if not attempt.is_held:
        return
    attempt.is_held = False
    usage, cost_nanousd = attempt.outcome.usage, attempt.outcome.cost_nanousd
    if not attempt.has_begun or usage is None:
        plane.holds.give_back(attempt.id)
        if beside is not None:
            plane.holds.tell(beside)
    else:
        plane.holds.settle(attempt.id, cost_nanousd, usage.total, beside)
    if call.left_nanousd is not None:
        call.left_nanousd += (attempt.held_nanousd or 0) - (cost_nanousd or 0)
