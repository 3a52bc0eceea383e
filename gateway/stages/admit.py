"""May it be sent: the upper bound of its cost is held on every budget that applies, and Begin is journalled.

The bound: one input token for each UTF-8 byte of the body (a token is at least a byte) and what its bytes do not show,
at the dearest rate its cache markers can bring; for each choice as many output tokens as the request's ceiling, else
the model's. Priced by the tier that this input reaches.

Fails closed where a blocking budget applies, open where none does.
"""

from gateway.call import Call
from gateway.dialects.dialect import Asked
from gateway.errors import Refusal
from gateway.plane import Plane
from gateway.snapshot import Snapshot
from llmobs.budgets.definition import USD, Applied
from llmobs.budgets.ledger import Exhausted, Granted
from llmobs.core.clock import NS_PER_SECOND
from llmobs.core.money import MOST_NANOUSD, exact_usd
from llmobs.ingest.journal import JournalError
from llmobs.pricing.cost import cost
from llmobs.pricing.price import Price
from llmobs.pricing.usage import Usage


async def admit(call: Call, plane: Plane) -> None:
    """Fill price, bound and holds, and append Begin. Raises Refusal."""
    assert plane.snapshot is not None
    _bound(call, plane.snapshot)
    if call.applied:
        await _hold(call, plane)
    try:
        plane.recorder.begin(call)
    except JournalError as error:
        raise Refusal("journal_full", f"the call cannot be recorded, so it is not sent: {error}") from None
    call.has_begun = True


def _bound(call: Call, snapshot: Snapshot) -> None:
    asked, candidate, tenant = call.asked, call.candidate, call.tenant
    assert asked is not None
    assert candidate is not None
    assert tenant is not None
    provider, model, at_ns = candidate.provider, candidate.model, call.started_ns
    call.price = snapshot.book.price(tenant.id, provider.priced_as, model, at_ns)
    ceiling = asked.most_output_tokens or snapshot.ceiling(tenant.id, provider, model, at_ns)
    call.held_usage = upper_usage(asked, len(call.body), ceiling, call.price)
    applied = snapshot.budgets.applying(tenant.id, call.attribution, model, provider.name, at_ns)
    if call.price is not None:
        call.held_nanousd = min(cost(call.held_usage, call.price), MOST_NANOUSD)
    elif call.key.unpriced != "allow" and any(a.budget.is_blocking and a.budget.unit == USD for a in applied):
        raise Refusal(
            "unpriced_model",
            f"no price is known for {provider.name}/{model}, and a budget in USD applies: give it a price, "
            "or let the key use unpriced models",
        )
    tokens = call.held_usage.total
    call.applied = tuple((a, a.budget.amount(call.held_nanousd, tokens)) for a in applied)


def upper_usage(asked: Asked, body_bytes: int, ceiling_tokens: int, price: Price | None) -> Usage:
    """The most that a provider can bill for this request."""
    input_tokens = body_bytes + asked.unseen_input_tokens
    output = ceiling_tokens * asked.choices + asked.unseen_output_tokens
    uncached = Usage(uncached_input=input_tokens, output=output)
    if not asked.cache_write:
        return uncached
    if asked.cache_write == "1h":
        written = Usage(cache_write_1h=input_tokens, output=output)
    else:
        written = Usage(cache_write_5m=input_tokens, output=output)
    # Some models take less for what is written to the cache than for what is not.
    return written if price is None or cost(written, price) >= cost(uncached, price) else uncached


async def _hold(call: Call, plane: Plane) -> None:
    outcome = await plane.holds.reserve(call.attempt, call.started_ns // NS_PER_SECOND, call.applied)
    if isinstance(outcome, Granted):
        call.is_held = True
        left = [
            left for (applied, _), left in zip(call.applied, outcome.left, strict=True) if applied.budget.unit == USD
        ]
        call.left_nanousd = min(left) if left else None
    elif isinstance(outcome, Exhausted):
        applied, amount = call.applied[outcome.index]
        raise _exhausted(applied, amount, outcome)
    elif any(applied.budget.is_blocking for applied, _ in call.applied):
        raise Refusal("budget_unavailable", "the budgets' ledger recovers; try again in a moment")


def _exhausted(applied: Applied, amount: int, outcome: Exhausted) -> Refusal:
    budget = applied.budget
    left = max(0, budget.limit - outcome.spent - outcome.held)
    unit = "USD" if budget.unit == USD else "tokens"
    limit, needed, remaining = (exact_usd(n) if budget.unit == USD else str(n) for n in (budget.limit, amount, left))
    return Refusal(
        "budget_exhausted",
        f"budget {budget.name!r}: of {limit} {unit} per {budget.window}, {remaining} are left, "
        f"and this call may need {needed}",
        {
            "budget": budget.name,
            "value": applied.value,
            "window": budget.window,
            "window_start": applied.window_start_s,
            "unit": budget.unit,
            "limit": budget.limit,
            "base": outcome.base,
            "pending": outcome.pending,
            "held": outcome.held,
            "requested": amount,
        },
    )
