"""May it be sent: in one step the cache is asked, the limits that apply are taken, and the bound of its first attempt
is held on every budget; then Begin is journalled. A cached answer ends it there, and nothing is taken.
"""

import time

from gateway import front
from gateway.admission import begin, hold, prepare
from gateway.cache_entry import Lookup
from gateway.call import Attempt, Call
from gateway.ending import settle_attempt
from gateway.plane import Plane
from gateway.rates import Asking
from gateway.response_cache import is_cached, words
from llmobs.budgets.ledger import Ahead
from llmobs.cache.store import NOTHING_ASKED as NO_CACHE
from llmobs.limits.admission import NOTHING_ASKED
from llmobs.providers.registry import CandidateInfo


async def admit(call: Call, plane: Plane) -> None:
    """Begin the first attempt, at the first candidate whose breaker lets it through; unless the cache has the answer.

    Raises Refusal.
    """
    if call.answer is not None:  # a count of tokens that needs nobody
        return
    snapshot, health = plane.snapshot, plane.health
    assert snapshot is not None
    plane.rates.cap(call, snapshot)
    lookup = call.cached = plane.cache.wants(call)
    if lookup is not None and await plane.cache.joined(call, lookup):
        return
    for candidate in call.candidates:
        now_s = time.monotonic()
        verdict = health.goes(candidate, now_s) or await health.allows(candidate, now_s)
        if not verdict.is_skip:
            break
    else:
        if lookup is not None:
            await _looked_up(call, lookup, plane)
        return
    try:
        await _begun(call, candidate, lookup, plane)
    except BaseException:
        health.neither(candidate, verdict)
        raise
    if call.attempt is None:
        health.neither(candidate, verdict)
    else:
        call.attempt.verdict = verdict


async def _begun(call: Call, candidate: CandidateInfo, lookup: Lookup | None, plane: Plane) -> None:
    snapshot = plane.snapshot
    assert snapshot is not None
    attempt = prepare(call, candidate, snapshot, call.started_ns, call.started)
    asking = call.limits = plane.rates.asking(call, snapshot)
    if asking is not None and lookup is None and attempt.applied:
        # The usual case of a call under limits and budgets, without further steps.
        asked = front.front(NO_CACHE, asking.words())
        answer = await hold(call, attempt, plane, asked)
        _limited(call, asking, answer or await front.ask_alone(asked, plane), 0, plane)
    elif asking is not None or lookup is not None:
        if not await _take(call, attempt, asking, lookup, plane):
            return
    elif attempt.applied:
        await hold(call, attempt, plane)
    try:
        begin(call, attempt, plane)
    except BaseException:
        settle_attempt(call, attempt, plane)
        raise


async def _take(call: Call, attempt: Attempt, asking: Asking | None, lookup: Lookup | None, plane: Plane) -> bool:
    """Take of all limits and hold on all budgets, or neither; False: the cache had the answer. Raises Refusal."""
    answer = await _asked(call, attempt, asking, lookup, plane)
    while lookup is not None and isinstance(answer, Ahead) and is_cached(answer.reply):
        if await plane.cache.met(call, lookup, answer.reply):
            return False
        answer = await _asked(call, attempt, asking, lookup, plane)
    position = 0
    if lookup is not None and isinstance(answer, tuple):
        position = plane.cache.missed(lookup, answer)
    if asking is not None:
        _limited(call, asking, answer, position, plane)
    return True


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
    answer = await front.ask_alone(front.front(words(lookup), NOTHING_ASKED), plane)
    while isinstance(answer, Ahead) and is_cached(answer.reply):
        if await plane.cache.met(call, lookup, answer.reply):
            return
        answer = await front.ask_alone(front.front(words(lookup), NOTHING_ASKED), plane)
    if isinstance(answer, tuple):
        plane.cache.missed(lookup, answer)


async def _asked(
    call: Call, attempt: Attempt, asking: Asking | None, lookup: Lookup | None, plane: Plane
) -> tuple[object, ...] | Ahead | None:
    """What the cache, the limits and the budgets say in one step; None: Valkey is away."""
    asked = front.front(words(lookup), asking.words() if asking is not None else NOTHING_ASKED)
    answer = await hold(call, attempt, plane, asked) if attempt.applied else None
    if answer is None:  # no budgets, or none that must be held: their ledger may recover while limits hold
        answer = await front.ask_alone(asked, plane)
    return answer
