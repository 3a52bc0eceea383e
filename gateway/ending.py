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

_NONE: list[int] = []


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
    held = attempt.held_nanousd
    if held is not None and outcome.usage is not None and (outcome.usage.tier or (outcome.cost_nanousd or 0) > held):
        plane.overruns.met(attempt, call.trace_id, plane.snapshot)
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
    if not attempt.has_begun or usage is None or attempt.goes_unrecorded:
        plane.holds.give_back(attempt.id)
        if beside is not None:
            plane.holds.tell(beside)
    else:
        plane.holds.settle(attempt.id, _taken(attempt) if cost_nanousd is None else cost_nanousd, usage.total, beside)
    _left(call, attempt)


def is_usual(call: Call, attempt: Attempt, plane: Plane) -> bool:
    """It was admitted by a form, under this epoch; it was sent, and was the only one; and it is charged."""
    if not attempt.is_held or not attempt.has_begun or attempt.outcome.usage is None or len(call.attempts) != 1:
        return False
    return bool(attempt.usual.epoch == plane.holds.attempts.epoch)


def settle_usually(call: Call, attempt: Attempt, plane: Plane) -> None:
    """Holds and limits in one step, by the form's words."""
    attempt.is_held = False
    outcome, asking, at_s, changes = attempt.outcome, call.limits, 0, _NONE
    if asking is not None and asking.taken is not None:
        at_s = asking.taken.at_s
        changes = plane.rates.used(call, asking)
    cost_nanousd, tokens = outcome.cost_nanousd, outcome.usage.total if outcome.usage is not None else 0
    if cost_nanousd is None:
        cost_nanousd = _taken(attempt)
    actuals = [applied.budget.amount(cost_nanousd, tokens) for applied, _ in attempt.applied]
    plane.holds.settle_by(attempt.id, attempt.usual.settlement(asking, attempt.id, actuals, at_s, changes))
    _left(call, attempt)


def _taken(attempt: Attempt) -> int:
    """What budgets count while nobody knows its cost: all that it held, so that such calls use a budget up too."""
    return attempt.unpriced_nanousd if attempt.held_nanousd is None else attempt.held_nanousd


def _left(call: Call, attempt: Attempt) -> None:
    outcome = attempt.outcome
    if call.left_nanousd is not None and (outcome.usage is None or outcome.cost_nanousd is not None):
        call.left_nanousd += _taken(attempt) - (outcome.cost_nanousd or 0)
