"""Admission of an attempt: the upper bound of its cost, held on every budget that applies; then Begin in the journal.

The bound: one input token for each UTF-8 byte of the body (a token is at least a byte) and what its bytes do not show,
at the dearest rate its cache markers can bring; for each choice as many output tokens as the request's ceiling, else
the model's. Priced by the tier that this input reaches; at the dearest tier of service that the request names, or that
its provider may give unasked (as its entry says, or its answers have).

Fails closed where a blocking budget applies, open where none does.
"""

import msgspec

from gateway.call import COUNT_TOKENS, Attempt, Call
from gateway.dialects.dialect import Asked, BadRequest
from gateway.dialects.translation import Translation, translation
from gateway.errors import Refusal, not_recorded
from gateway.front import NO_BUDGETS, front
from gateway.holds import Outcome
from gateway.over_budget import exhausted
from gateway.plane import Plane
from gateway.rates import Asking
from gateway.routing.strategies import CASCADE
from gateway.snapshot import Snapshot
from gateway.valkey import Away
from llmobs.budgets.definition import USD
from llmobs.budgets.ledger import Ahead, Command, Exhausted, Front, Granted
from llmobs.cache.store import NOTHING_ASKED as NO_CACHE
from llmobs.core.clock import NS_PER_SECOND
from llmobs.core.money import MOST_NANOUSD
from llmobs.ingest.journal import JournalError
from llmobs.limits.definition import NONE_APPLY
from llmobs.pricing.cost import cost
from llmobs.pricing.price import Price
from llmobs.pricing.upper import NOTHING, upper_apart, upper_length
from llmobs.pricing.usage import Usage
from llmobs.providers.registry import CandidateInfo
from llmobs.tenants.roster import REFUSE


def prepare(call: Call, candidate: CandidateInfo, snapshot: Snapshot, started_ns: int, started: int) -> Attempt:
    """The next attempt of a call, with its bound; nothing is held yet. Raises Refusal."""
    number = len(call.attempts) + 1
    translated = translation(call.dialect, candidate.provider.dialect, candidate.provider.serves)
    speaks = call.dialect if translated is None else translated.speaks
    span_id, is_billed = call.attempt_span_id(), speaks.serves != COUNT_TOKENS
    attempt = Attempt(span_id, span_id.hex(), candidate, speaks, translated, number, started_ns, started, is_billed)
    attempt.streams = call.asked is not None and call.asked.is_stream and not is_scored(call, candidate)
    ceiling_tokens = _ceiling(call, candidate, snapshot)
    if translated is not None:
        attempt.body = _translated(call, attempt, translated, ceiling_tokens)
    _bound(call, attempt, snapshot, ceiling_tokens)
    return attempt


def is_scored(call: Call, candidate: CandidateInfo) -> bool:
    """Whether the answer is looked at whole before it is passed on: any but a cascade's last candidate's."""
    route = call.route
    return route is not None and route.strategy == CASCADE and candidate is not call.candidates[-1]


def _ceiling(call: Call, candidate: CandidateInfo, snapshot: Snapshot) -> int:
    asked, tenant = call.asked, call.tenant
    assert asked is not None
    assert tenant is not None
    return asked.most_output_tokens or snapshot.ceiling(tenant.id, candidate.provider, candidate.model, call.started_ns)


def _translated(call: Call, attempt: Attempt, translated: Translation, ceiling_tokens: int) -> bytes:
    asked, body = call.asked, call.body
    assert asked is not None
    if asked.is_stream and not attempt.streams:
        body, asked = call.dialect.streaming(body, False), msgspec.structs.replace(asked, is_stream=False)
    try:
        return translated.request(body, attempt.candidate.model, asked, ceiling_tokens)
    except BadRequest as error:
        raise Refusal("invalid_request", str(error)) from None


def _bound(call: Call, attempt: Attempt, snapshot: Snapshot, ceiling_tokens: int) -> None:
    asked, tenant = call.asked, call.tenant
    assert asked is not None
    assert tenant is not None
    provider, model, at_ns = attempt.candidate.provider, attempt.candidate.model, attempt.started_ns
    attempt.price = snapshot.book.price(tenant.id, provider.priced_as, model, at_ns)
    if asked.is_free:
        return
    body_bytes = max(len(call.body), len(attempt.body))
    written = asked.cache_write or ("5m" if attempt.speaks.may_write_cache(model) else "")
    attempt.held_usage = upper_usage(asked, body_bytes, ceiling_tokens, attempt.price, written)
    tokens = attempt.held_usage.total
    unasked = snapshot.unasked.get(provider.id, ()) if snapshot.unasked else ()
    if asked.apart is not None or unasked or (attempt.price is not None and not attempt.price.is_plain):
        attempt.held_usage = upper_apart(attempt.held_usage, asked.apart or NOTHING, attempt.price, unasked)
    elif attempt.price is not None and attempt.price.tiers:
        attempt.held_usage = upper_length(attempt.held_usage, attempt.price)
    who = call.attribution
    applied = snapshot.budgets.applying(tenant.id, who, model, provider.name, at_ns, call.prompt_version)
    bound = None if attempt.price is None else cost(attempt.held_usage, attempt.price)
    if bound is not None:
        attempt.held_nanousd = min(bound, MOST_NANOUSD)
    elif call.key.unpriced == REFUSE and any(a.budget.is_blocking and a.budget.unit == USD for a in applied):
        raise Refusal(
            "unpriced_model",
            f"no price is known for {provider.name}/{model}, and a budget in USD applies: give it a price, "
            "or say on the key what a call of it holds (unpriced: ceiling), or that it may go on without (allow)",
        )
    held = attempt.held_nanousd
    if held is None:  # its cost stays unknown; what it takes of budgets until it is priced is the key's to say
        held = attempt.unpriced_nanousd = call.key.unpriced_nanousd or 0
    attempt.applying = applied
    attempt.applied = tuple([(a, held if a.budget.unit == USD else tokens) for a in applied])


def upper_usage(asked: Asked, body_bytes: int, ceiling_tokens: int, price: Price | None, cache_write: str) -> Usage:
    """The most that a provider can bill for this request. `cache_write`: "", "5m" or "1h"."""
    input_tokens = body_bytes + asked.unseen_input_tokens
    output = ceiling_tokens * asked.choices + asked.unseen_output_tokens
    uncached = Usage(uncached_input=input_tokens, output=output)
    if not cache_write:
        return uncached
    if cache_write == "1h":
        written = Usage(cache_write_1h=input_tokens, output=output)
    else:
        written = Usage(cache_write_5m=input_tokens, output=output)
    # Some models take less for what is written to the cache than for what is not.
    return uncached if price is not None and (cost(uncached, price) or 0) > (cost(written, price) or 0) else written


async def hold(
    call: Call, attempt: Attempt, plane: Plane, ahead: Front | None = None
) -> tuple[object, ...] | Ahead | None:
    """Hold the bound on every budget that applies. Raises Refusal.

    With sections `ahead` these are asked first, in the same step: what they took, or what one of them answered so
    that nothing is held; None where the ledger could not be asked (and no blocking budget applies).
    """
    begin_s = attempt.started_ns // NS_PER_SECOND
    return _held(call, attempt, await plane.holds.reserve(attempt.id, begin_s, attempt.applied, ahead))


async def hold_usually(
    call: Call, attempt: Attempt, asking: Asking | None, plane: Plane
) -> tuple[object, ...] | Ahead | None:
    """As `hold`, with what the limits are asked ahead, in words that are packed already."""
    holds, begin_s, outcome = plane.holds, attempt.started_ns // NS_PER_SECOND, None
    attempts = holds.attempts
    if attempts.is_joined:
        limits = asking.applying if asking is not None else NONE_APPLY
        usual = attempt.usual = plane.forms.usual(limits, attempt.applying, attempts.epoch)
        amounts = [amount for _, amount in attempt.applied]
        command = usual.admission(asking, attempt.id, begin_s, attempts.owner, amounts)
        reply = holds.asking(attempt.id, begin_s, attempt.applied, command)
        if reply is not None:
            try:
                outcome = holds.heard(attempt.id, await reply)
            except Away:
                pass
    if outcome is None:
        attempt.usual = None
        asked = front(NO_CACHE, asking.words()) if asking is not None else None
        outcome = await holds.reserve(attempt.id, begin_s, attempt.applied, asked)
    return _held(call, attempt, outcome)


def _held(call: Call, attempt: Attempt, outcome: Outcome) -> tuple[object, ...] | Ahead | None:
    if isinstance(outcome, Granted):
        attempt.is_held = True
        tightest = None
        for (applied, _), left in zip(attempt.applied, outcome.left, strict=True):
            if applied.budget.unit == USD and (tightest is None or left < tightest):
                tightest = left
        call.left_nanousd = tightest
        return outcome.ahead
    if isinstance(outcome, Ahead):
        return outcome
    if isinstance(outcome, Exhausted):
        applied, amount = attempt.applied[outcome.index]
        raise exhausted(call, applied, amount, outcome)
    if any(applied.budget.is_blocking for applied, _ in attempt.applied):
        raise Refusal("budget_unavailable", "the budgets' ledger recovers; try again in a moment")
    return None


async def ask_alone(asked: Front, plane: Plane) -> tuple[object, ...] | Ahead | None:
    """The sections without budgets: what they took, what one of them answered instead; None: Valkey is away."""
    try:
        reply = await plane.holds.valkey.run_script(Command(asked.script, asked.keys, [*asked.args, NO_BUDGETS]))
    except Away:
        return None
    return tuple(reply[1:]) if reply[0] == 1 else Ahead(reply)


def begin(call: Call, attempt: Attempt, plane: Plane) -> None:
    """Journal that it is about to be sent. Raises Refusal: then it must not be."""
    try:
        plane.recorder.begin(call, attempt)
    except JournalError as error:
        raise not_recorded(str(error)) from None
    attempt.has_begun = True
    call.attempts.append(attempt)
    call.attempt = attempt
