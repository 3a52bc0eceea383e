"""The attempts of one call, one after the other, until one answers or none is left (gateway/routing has the rules)."""

import asyncio
import time
from dataclasses import replace
from random import Random

from gateway.admission import begin, hold, is_scored, prepare
from gateway.call import Attempt, Call
from gateway.ending import record_attempt, settle_attempt
from gateway.errors import AttemptFailed, GatewayError
from gateway.exchange import ask
from gateway.hedging import hedged
from gateway.plane import Plane
from gateway.routing.cascading import goes_on, spoken, wants_json
from gateway.routing.outcomes import of_failure, of_status
from gateway.routing.retrying import BUSY, Budget, Tried, after, told
from gateway.routing.strategies import CASCADE, FALLBACK
from gateway.streaming import Flow
from llmobs.core import semconv
from llmobs.providers.registry import CandidateInfo

ERROR_UNDER_200 = 502  # a 200 with an error for a body counts as one
CREDENTIAL_STATUSES = frozenset({401, 402, 403, 429})
ASIDE_SECONDS = 60.0
_RNG = Random()  # noqa: S311 -- jitter, not a secret


class Tries:
    """Where a call stands among its candidates."""

    __slots__ = ("at_candidate", "call", "failures", "has_failed", "index", "plane", "poor", "until_s")

    def __init__(self, call: Call, plane: Plane) -> None:
        self.call = call
        self.plane = plane
        self.index = 0
        self.at_candidate = 1  # tries of this one
        self.failures: list[tuple[str, Tried]] = []
        self.has_failed = False
        self.poor: Attempt | None = None  # a cascade's answer that was not good enough: better than none
        self.until_s = 0.0

    async def until_answered(self) -> Flow | None:
        """The current attempt of the call has answered: its whole answer is filled, or this is its stream.

        `has_failed`: it has not, and the provider's own error is its answer. Raises AttemptFailed, Refusal.
        """
        call = self.call
        while True:
            attempt = call.attempt
            assert attempt is not None
            failure: AttemptFailed | None = None
            flow: Flow | None = None
            try:
                if self._is_hedged(attempt):
                    flow = await hedged(call, attempt, self.plane, self._another)
                else:
                    flow = await ask(call, attempt, self.plane)
            except AttemptFailed as error:
                failure = error
            attempt = call.attempt
            tried = self._other_credential(attempt, _tried(call, attempt, failure))
            if tried is None:
                self._succeeded(attempt)
                if flow is None and self._is_poor(attempt) and await self._next(self.index + 1, 0.0):
                    self.poor = attempt
                    continue
                self._mark_degraded(attempt)
                return flow
            self._failed(attempt, tried)
            if not await self._goes_on(tried):
                if self.poor is not None:
                    self._hear_again(attempt)
                    return None
                self.has_failed = True
                if said := told(self.failures, ""):  # several candidates
                    call.own_headers.append((b"x-llmobs-tried", said.encode("ascii", "replace")))
                if failure is not None:
                    failure.message = told(self.failures, failure.message)
                    raise failure
                return None

    # ------------------------------------------------------------ what became of an attempt

    def _succeeded(self, attempt: Attempt) -> None:
        took_ns = time.monotonic_ns() - attempt.started
        self.plane.health.ok(attempt.candidate, took_ns if attempt.streams else None, took_ns, attempt.verdict)

    def _failed(self, attempt: Attempt, tried: Tried) -> None:
        candidate = attempt.candidate
        self.failures.append((f"{candidate.provider.name}/{candidate.model}", tried))
        self.plane.health.failed(candidate, tried.kind, tried.retry_after_s, attempt.verdict)

    def _other_credential(self, attempt: Attempt, tried: Tried | None) -> Tried | None:
        """One that the provider refuses is put aside; while another is left, the same candidate is asked at once."""
        if tried is None or tried.status not in CREDENTIAL_STATUSES or self.plane.snapshot is None:
            return tried
        target = self.plane.snapshot.targets[attempt.candidate.provider.id]
        is_another_left = target.aside(attempt.credential, tried.retry_after_s or ASIDE_SECONDS)
        return Tried(BUSY, tried.status, 0.0) if is_another_left else tried

    def _hear_again(self, failed: Attempt) -> None:
        """What the cascade's better candidate could not say: its cheaper one's answer stands."""
        call = self.call
        if not failed.is_recorded:
            record_attempt(call, failed, self.plane)
            settle_attempt(call, failed, self.plane)
        call.attempt = self.poor

    def _mark_degraded(self, attempt: Attempt) -> None:
        call = self.call
        route, candidate = call.route, attempt.candidate
        if route is None or route.strategy == CASCADE:
            return
        first = call.candidates[0]
        if route.strategy == FALLBACK:  # what an open breaker keeps away is the primary all the same
            first = next((c for c in route.candidates if not c.canary_percent), first)
        is_primary = (candidate.provider.id, candidate.model) == (first.provider.id, first.model)
        if not is_primary and not candidate.canary_percent:
            call.degraded = "fallback"

    # ------------------------------------------------------------ the next attempt

    async def _goes_on(self, tried: Tried) -> bool:
        """Whether another attempt has begun."""
        call, attempt = self.call, self.call.attempt
        assert attempt is not None
        asked = call.asked
        assert asked is not None
        now_s = time.monotonic()
        patience_s = call.first_byte_seconds if asked.is_stream else call.whole_seconds
        if not self.until_s:
            self.until_s = call.started / 1e9 + patience_s * max(1, len(call.candidates))
        left = len(call.candidates) - self.index - 1
        budget = Budget(attempt.candidate.provider.retries, left, self.until_s - now_s, patience_s)
        step = after(tried, self.at_candidate, budget, _RNG)
        if step.is_end:
            return False
        if step.move:
            return await self._next(self.index + 1, step.wait_s)
        return await self._next(self.index, step.wait_s) or await self._next(self.index + 1, 0.0)

    async def _next(self, index: int, wait_s: float) -> bool:
        """Begin an attempt at the candidate of that index or one after it; False where none may be begun."""
        call = self.call
        if index >= len(call.candidates):
            return False
        if wait_s:
            await asyncio.sleep(wait_s)
        if await _has_left(call):
            call.is_client_gone = True
            return False
        for at in range(index, len(call.candidates)):
            candidate = call.candidates[at]
            attempt = await self._begun(candidate)
            if attempt is not None:
                self.at_candidate = self.at_candidate + 1 if at == self.index else 1
                self.index = at
                return True
        return False

    async def _another(self) -> Attempt | None:
        """A second attempt beside the first, for a hedge."""
        before = self.call.attempt
        for at in range(self.index + 1, len(self.call.candidates)):
            attempt = await self._begun(self.call.candidates[at], ends_last=False)
            if attempt is not None:
                self.call.attempt = before
                return attempt
        return None

    async def _begun(self, candidate: CandidateInfo, ends_last: bool = True) -> Attempt | None:
        """A new attempt there, held and journalled; None where its breaker, budgets or format do not allow it."""
        call, plane = self.call, self.plane
        last = call.attempt
        assert last is not None
        assert plane.snapshot is not None
        health = plane.health
        verdict = await health.allows(candidate, time.monotonic())
        if verdict.is_skip:
            return None
        call.goes_on()
        if ends_last and not last.is_recorded:
            record_attempt(call, last, plane)
            settle_attempt(call, last, plane)
        try:
            attempt = prepare(call, candidate, plane.snapshot, time.time_ns(), time.monotonic_ns())
            if attempt.applied:
                await hold(call, attempt, plane)
            begin(call, attempt, plane)
        except GatewayError:
            health.neither(candidate, verdict)
            return None
        attempt.verdict = verdict
        return attempt

    # ------------------------------------------------------------ cascades, hedges

    def _is_poor(self, attempt: Attempt) -> bool:
        call = self.call
        if call.route is None or not is_scored(call, attempt.candidate):
            return False
        said = spoken(attempt.outcome.response_body, attempt.speaks.name)
        return goes_on(said, call.route.cascade_threshold, wants_json(call.body))

    def _is_hedged(self, attempt: Attempt) -> bool:
        route = self.call.route
        return route is not None and route.hedge_after_ms > 0 and attempt.number == 1 and len(self.call.candidates) > 1


def _tried(call: Call, attempt: Attempt, failure: AttemptFailed | None) -> Tried | None:
    """What failed; None: it has answered."""
    outcome = attempt.outcome
    if failure is not None:
        return of_failure(failure, outcome.http_status)
    if outcome.status == semconv.OK or attempt.answer is None:
        return None
    if call.output_guard is not None and call.output_guard.is_blocked:
        return None  # it was answered, and the answer may not go out: another would not be asked for another
    status = outcome.http_status if outcome.http_status >= 400 else ERROR_UNDER_200
    tried = of_status(status, outcome.error_type, outcome.retry_after_s)
    return tried if tried is None or outcome.may_retry else replace(tried, may_retry=False)


async def _has_left(call: Call) -> bool:
    """Whether the client has closed its connection: nobody is left to try again for."""
    watch = asyncio.ensure_future(call.receive())
    await asyncio.sleep(0)
    if watch.done():
        return True
    watch.cancel()
    return False
