"""May it be sent: in one step the cache is asked, the limits that apply are taken, and the bound of its first attempt
is held on every budget; then Begin is journalled. A cached answer ends it there, and nothing is taken.

A candidate that may not be held, or whose format cannot say what is asked, gives way to the next one. A budget may say
something else than to refuse (`degrading`): cheaper candidates are tried, or the call is answered without any.
"""

import time

from gateway.admission import ask_alone, begin, hold, hold_usually, prepare
from gateway.cache_entry import Lookup
from gateway.call import Attempt, Call
from gateway.ceiling import declared, set_ceiling
from gateway.degrading import answered, downgrade, goes_down
from gateway.ending import settle_attempt
from gateway.errors import Refusal
from gateway.front import front
from gateway.plane import Plane
from gateway.rates import Asking
from gateway.response_cache import is_cached, words
from llmobs.budgets.ledger import Ahead
from llmobs.cache.store import NOTHING_ASKED as NO_CACHE
from llmobs.limits.admission import NOTHING_ASKED
from llmobs.providers.registry import CandidateInfo

# What is said of one candidate: another may have a price, cost less, be under another budget, or take the request.
_OF_ONE = frozenset({"unpriced_model", "budget_exhausted", "invalid_request"})


async def admit(call: Call, plane: Plane) -> None:
    """Begin the first attempt, at the first candidate that its breaker lets through and that may be held; unless the
    cache has the answer. Raises Refusal, where none may be held.
    """
    if call.answer is not None:  # a count of tokens that needs nobody
        return
    snapshot, health = plane.snapshot, plane.health
    assert snapshot is not None
    most_output_tokens = declared(call)
    if most_output_tokens is not None:
        set_ceiling(call, most_output_tokens, snapshot)
    plane.rates.cap(call, snapshot)
    lookup = call.cached = plane.cache.wants(call)
    if lookup is not None and await plane.cache.joined(call, lookup):
        return
    refusal: Refusal | None = None
    waiting = list(call.candidates)
    while waiting:
        candidate = waiting.pop(0)
        now_s = time.monotonic()
        verdict = health.goes(candidate, now_s) or await health.allows(candidate, now_s)
        if verdict.is_skip:
            continue
        try:
            await _begun(call, candidate, lookup, plane)
        except BaseException as error:
            health.neither(candidate, verdict)
            if not isinstance(error, Refusal) or error.reason not in _OF_ONE:
                raise
            if refusal is None or error.reason == "budget_exhausted":  # the reason that the caller's budget can change
                refusal = error
            if error.budget is not None and goes_down(call, error) and downgrade(call, error, candidate, plane):
                waiting = list(call.candidates)
            continue
        if call.attempt is None:
            health.neither(candidate, verdict)
        else:
            call.attempt.verdict = verdict
        return
    if refusal is not None:
        if refusal.budget is None or not await answered(call, refusal, plane):
            raise refusal
        return
    if lookup is not None:
        await _looked_up(call, lookup, plane)


async def _begun(call: Call, candidate: CandidateInfo, lookup: Lookup | None, plane: Plane) -> None:
    attempt, asking = _prepared(call, candidate, plane)
    if lookup is None and attempt.applied:
        # The usual case of a call under limits and budgets, without further steps.
        answer = await hold_usually(call, attempt, asking, plane)
        if asking is not None:
            if answer is None:
                answer = await ask_alone(front(NO_CACHE, asking.words()), plane)
            _limited(call, asking, answer, 0, plane)
    elif asking is not None or lookup is not None:
        taken = await _take(call, attempt, asking, lookup, plane)
        if taken is None:
            return
        attempt = taken
    try:
        begin(call, attempt, plane)
    except BaseException:
        settle_attempt(call, attempt, plane)
        raise


def _prepared(call: Call, candidate: CandidateInfo, plane: Plane) -> tuple[Attempt, Asking | None]:
    """The first attempt and what it asks of the limits, by the configuration as it is now. Raises Refusal."""
    snapshot = plane.snapshot
    assert snapshot is not None
    attempt = prepare(call, candidate, snapshot, call.started_ns, call.started)
    asking = call.limits = plane.rates.asking(call, snapshot)
    return attempt, asking


async def _take(
    call: Call, attempt: Attempt, asking: Asking | None, lookup: Lookup | None, plane: Plane
) -> Attempt | None:
    """The attempt once all limits are taken of and all budgets hold it; None: the cache had the answer.

    Raises Refusal: neither is then.
    """
    answer = await _asked(call, attempt, asking, lookup, plane)
    while lookup is not None and isinstance(answer, Ahead) and is_cached(answer.reply):
        if await plane.cache.met(call, lookup, answer.reply):
            return None
        attempt, asking = _prepared(call, attempt.candidate, plane)  # it may have waited for minutes
        answer = await _asked(call, attempt, asking, lookup, plane)
    position = 0
    if lookup is not None and isinstance(answer, tuple):
        position = plane.cache.missed(lookup, answer)
    if asking is not None:
        _limited(call, asking, answer, position, plane)
    return attempt


def _limited(
    call: Call, asking: Asking, answer: tuple[object, ...] | Ahead | None, position: int, plane: Plane
) -> None:
    """What the limits said; without an answer this gateway's share is taken of. Raises Refusal."""
    if answer is None:
        plane.rates.take_locally(call, asking)
    elif isinstance(answer, Ahead):
        raise plane.rates.refused(call, asking, answer.reply)
    else:
        plane.rates.granted(call, asking, answer, position)


async def _looked_up(call: Call, lookup: Lookup, plane: Plane) -> None:
    """Nobody may be asked now, but an answer that is kept may be given: nothing is taken for it."""
    answer = await ask_alone(front(words(lookup), NOTHING_ASKED), plane)
    while isinstance(answer, Ahead) and is_cached(answer.reply):
        if await plane.cache.met(call, lookup, answer.reply):
            return
        answer = await ask_alone(front(words(lookup), NOTHING_ASKED), plane)
    if isinstance(answer, tuple):
        plane.cache.missed(lookup, answer)


async def _asked(
    call: Call, attempt: Attempt, asking: Asking | None, lookup: Lookup | None, plane: Plane
) -> tuple[object, ...] | Ahead | None:
    """What the cache, the limits and the budgets say in one step; None: Valkey is away."""
    asked = front(words(lookup), asking.words() if asking is not None else NOTHING_ASKED)
    answer = await hold(call, attempt, plane, asked) if attempt.applied else None
    if answer is None:  # no budgets, or none that must be held: their ledger may recover while limits hold
        answer = await ask_alone(asked, plane)
    return answer
