"""What became of it: cost, once, where the usage is known; and End in the journal, before the last byte goes out."""

from gateway.call import Call
from gateway.plane import Plane
from llmobs.pricing.cost import cost


def record(call: Call, plane: Plane) -> None:
    """Journal the end of the attempt, or the refusal. Never raises."""
    if not call.has_begun:
        if call.refusal is not None:
            plane.counts.refused[call.refusal[0]] += 1
            if call.tenant is not None:
                plane.recorder.refused(call)
        return
    outcome, counts = call.outcome, plane.counts
    if outcome.usage is not None and call.price is not None:
        outcome.cost_nanousd = cost(outcome.usage, call.price)
        counts.cost_nanousd += outcome.cost_nanousd
    if outcome.usage is not None:
        counts.tokens["input"] += outcome.usage.input_tokens
        counts.tokens["output"] += outcome.usage.output
    counts.calls[call.dialect.name, outcome.status] += 1
    plane.recorder.end(call)
