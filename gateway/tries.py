"""The attempts of one call, one after the other, until one answers or none is left (gateway/routing has the rules).

1. A candidate is asked only if its breaker lets it through when its turn comes.
2. An attempt that failed is journalled and settled before anyone waits; the next one holds anew.
3. Each candidate has its patience once; a retry takes only what those after it can spare.
4. Nobody is asked for a caller who has left.
"""

import asyncio
import time
from random import Random

from gateway.admission import begin, hold, is_scored, prepare
from gateway.call import COUNT_TOKENS, Attempt, Call
from gateway.ending import record_attempt, settle_attempt
from gateway.errors import AttemptFailed, GatewayError
from gateway.exchange import ask
from gateway.hedging import hedged
from gateway.patience import patience_with
from gateway.plane import Plane
from gateway.routing.cascading import goes_on, spoken, wants_json
from gateway.routing.outcomes import of_failure, of_status
from gateway.routing.retrying import BUSY, LEAST_SECONDS, Budget, Tried, after, attempt_seconds, named, told
from gateway.routing.strategies import CASCADE
from gateway.streaming import Flow
from llmobs.core import semconv
from llmobs.providers.registry import CandidateInfo

FALLBACK = "fallback"  # as x-llmobs-degraded says it
ERROR_UNDER_200 = 502  # a 200 with an error for a body counts as one
CREDENTIAL_STATUSES = frozenset({401, 402, 403, 429})
ASIDE_SECONDS = 60.0
_RNG = Random()  # noqa: S311 -- jitter, not a secret


class Tries:
    """Where a call stands among its candidates."""

    __slots__ = (
        "at_candidate", "began_s", "call", "failures", "has_failed", "index", "other_credentials", "plane", "poor",
    )  # fmt: skip

    def __init__(self, call: Call, plane: Plane) -> None:
        self.call = call
        self.plane = plane
        self.began_s = time.monotonic()  # what the call waited for others before is not its candidates' time
        self.index = _index(call)
        self.at_candidate = 1  # tries of this one
        self.other_credentials = 0  # of this one that were asked after the first
        self.failures: list[tuple[str, Tried]] = []
        self.has_failed = False
        self.poor: Attempt | None = None  # a cascade's answer that was not good enough: better than none

    async def until_answered(self) -> Flow | None:
        """The current attempt of the call has answered: its whole answer is filled, or this is its stream.

        `has_failed`: it has not, and the provider's own error is its answer. Raises AttemptFailed, Refusal.
        """
        call = self.call
        while True:
            flow, failure = await self._asked()
            attempt = call.attempt
            assert attempt is not None
            tried = _tried(call, attempt, failure)
            if tried is None:
                self._succeeded(attempt)
                if not self._is_poor(attempt):
                    self._mark_degraded(attempt)
                    return flow
                if not await self._next(self.index + 1, 0.0):
                    call.degraded = FALLBACK  # a better one was wanted, and could not be asked
                    return flow
                self.poor = attempt
            elif not await self._goes_on(attempt, tried):
                if self.poor is not None:
                    self._hear_again(attempt, self.poor)
                    return None
                self.has_failed = True
                self._tell(failure)
                return None

    async def _asked(self) -> tuple[Flow | None, AttemptFailed | None]:
        call, plane = self.call, self.plane
        attempt = call.attempt
        assert attempt is not None
        try:
            if self._is_hedged(attempt):
                flow = await hedged(call, attempt, plane, self._another, self._heard_beside)
            else:
                flow = await ask(call, attempt, plane, self._most_seconds(attempt))
        except AttemptFailed as failure:
            return None, failure
        except BaseException:  # cancelled: it says nothing about the provider
            plane.health.neither(attempt.candidate, attempt.verdict)
            raise
        finally:
            if call.attempt is not None and call.attempt is not attempt:  # a hedge's second was heard
                self.index, self.at_candidate = _index(call), 1
        return flow, None

    def _most_seconds(self, attempt: Attempt) -> float | None:
        return None if attempt.number == 1 else attempt_seconds(self._budget(attempt.candidate))

    # ------------------------------------------------------------ what became of an attempt

    def _succeeded(self, attempt: Attempt) -> None:
        took_ns: int | None = time.monotonic_ns() - attempt.started
        if attempt.speaks.serves == COUNT_TOKENS:
            took_ns = None  # how long a count takes says nothing of the model
        self.plane.health.ok(attempt.candidate, took_ns if attempt.streams else None, took_ns, attempt.verdict)

    def _failed(self, attempt: Attempt, tried: Tried) -> None:
        candidate = attempt.candidate
        self.failures.append((f"{candidate.provider.name}/{candidate.model}", tried))
        self.plane.health.failed(candidate, tried.kind, tried.retry_after_s, attempt.verdict)

    def _heard_beside(self, attempt: Attempt, failure: AttemptFailed | None, is_loser: bool) -> bool:
        """Whether a hedge ends with this attempt; of its loser, what became of it is noted."""
        tried = _tried(self.call, attempt, failure)
        if is_loser and tried is not None:
            self._failed(attempt, tried)
        elif is_loser:
            self._succeeded(attempt)
        return tried is None or tried.is_callers

    def _hear_again(self, failed: Attempt, poor: Attempt) -> None:
        """What the cascade's better candidate could not say: its cheaper one's answer stands."""
        self._end(failed)
        self.call.attempt = poor
        self.call.degraded = FALLBACK

    def _mark_degraded(self, attempt: Attempt) -> None:
        call, candidate = self.call, attempt.candidate
        if call.degraded or call.route is None or call.route.strategy == CASCADE:
            return  # a budget's downgrade stays one
        first = call.primary or call.candidates[0]
        if (candidate.provider.id, candidate.model) != (first.provider.id, first.model):
            call.degraded = FALLBACK

    def _tell(self, failure: AttemptFailed | None) -> None:
        """All that failed: in the error's words, or beside the provider's own. Raises the failure."""
        if len(said := named(self.failures)) > 1:
            self.call.own_headers.append((b"x-llmobs-tried", "; ".join(said).encode("ascii", "replace")))
        if failure is not None:
            failure.message = told(self.failures, failure.message)
            raise failure

    # ------------------------------------------------------------ the next attempt

    async def _goes_on(self, attempt: Attempt, tried: Tried) -> bool:
        """Whether another attempt has begun after one that failed."""
        budget = self._budget(attempt.candidate)
        if budget.left_s > LEAST_SECONDS and self._has_other_credential(attempt, tried):
            self._failed(attempt, Tried(BUSY, tried.status))  # the credential's fault, not the candidate's
            self.other_credentials += 1
            self.at_candidate -= 1
            return await self._next(self.index, 0.0)
        self._failed(attempt, tried)
        step = after(tried, self.at_candidate, budget, _RNG)
        return not step.is_end and await self._next(self.index + step.move, step.wait_s)

    def _has_other_credential(self, attempt: Attempt, tried: Tried) -> bool:
        """The one that the provider refused is put aside; is another left, not asked yet?"""
        if tried.status not in CREDENTIAL_STATUSES or self.plane.snapshot is None:
            return False
        provider = attempt.candidate.provider
        target = self.plane.snapshot.targets.get(provider.id)
        if target is None:
            return False
        is_another_left = target.aside(attempt.credential, tried.retry_after_s or ASIDE_SECONDS)
        return is_another_left and self.other_credentials + 1 < len(provider.credentials)

    def _budget(self, candidate: CandidateInfo) -> Budget:
        call = self.call
        later = call.candidates[self.index + 1 :]
        left_s = self.began_s + sum(map(self._patience_s, call.candidates)) - time.monotonic()
        kept_s = sum(map(self._patience_s, later))
        return Budget(candidate.provider.retries, len(later), left_s, self._patience_s(candidate), kept_s)

    def _patience_s(self, candidate: CandidateInfo) -> float:
        asked = self.call.asked
        first_byte_s, whole_s = patience_with(candidate.provider, self.call)
        is_stream = asked is not None and asked.is_stream and not is_scored(self.call, candidate)
        return first_byte_s if is_stream else whole_s

    async def _next(self, index: int, wait_s: float) -> bool:
        """Begin an attempt at the candidate of that index or one after it; False where none may be begun."""
        call = self.call
        if index >= len(call.candidates):
            return False
        if wait_s and call.attempt is not None:
            self._end(call.attempt)  # what it holds is not kept for the pause
        if await _leaves(call, wait_s):
            call.is_client_gone = True
            return False
        for at in range(index, len(call.candidates)):
            if await self._begun(call.candidates[at]) is None:
                continue
            if at == self.index:
                self.at_candidate += 1
            else:
                self.index, self.at_candidate, self.other_credentials = at, 1, 0
            return True
        return False

    async def _another(self) -> Attempt | None:
        """A second attempt beside the first, for a hedge."""
        before = self.call.attempt
        for candidate in self.call.candidates[self.index + 1 :]:
            attempt = await self._begun(candidate, is_beside=True)
            if attempt is not None:
                self.call.attempt = before
                return attempt
        return None

    async def _begun(self, candidate: CandidateInfo, is_beside: bool = False) -> Attempt | None:
        """A new attempt there, held and journalled; None where its breaker, budgets or format do not allow it."""
        call, plane = self.call, self.plane
        assert call.attempt is not None
        assert plane.snapshot is not None
        verdict = await plane.health.allows(candidate, time.monotonic())
        if verdict.is_skip:
            return None
        if is_beside:
            call.goes_on()
        else:
            self._end(call.attempt)
        attempt: Attempt | None = None
        try:
            attempt = prepare(call, candidate, plane.snapshot, time.time_ns(), time.monotonic_ns())
            if attempt.applied:
                await hold(call, attempt, plane)
            begin(call, attempt, plane)
        except BaseException as error:
            plane.health.neither(candidate, verdict)
            if attempt is not None:
                settle_attempt(call, attempt, plane)
            if isinstance(error, GatewayError):
                return None
            raise
        attempt.verdict = verdict
        return attempt

    def _end(self, attempt: Attempt) -> None:
        """Journal and settle an attempt that is not the call's last word."""
        if not attempt.is_recorded:
            self.call.goes_on()
            record_attempt(self.call, attempt, self.plane)
            settle_attempt(self.call, attempt, self.plane)

    # ------------------------------------------------------------ cascades, hedges

    def _is_poor(self, attempt: Attempt) -> bool:
        call = self.call
        if call.route is None or attempt.outcome.status != semconv.OK or not is_scored(call, attempt.candidate):
            return False
        said = spoken(attempt.outcome.response_body, attempt.speaks.name)
        return goes_on(said, call.route.cascade_threshold, wants_json(call.body))

    def _is_hedged(self, attempt: Attempt) -> bool:
        route = self.call.route
        if route is None or not route.hedge_after_ms:
            return False
        return attempt.number == 1 and self.index + 1 < len(self.call.candidates)


def _index(call: Call) -> int:
    """Where the current attempt's candidate stands: admission may have passed over some."""
    assert call.attempt is not None
    wanted = call.attempt.candidate
    if wanted is call.candidates[0]:
        return 0
    return next(at for at, candidate in enumerate(call.candidates) if candidate is wanted)


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
    return of_status(status, outcome.error_type, outcome.retry_after_s, outcome.may_retry)


async def _leaves(call: Call, wait_s: float) -> bool:
    """Whether the client has closed its connection, or does within that time: nobody is left to try again for."""
    watch = asyncio.ensure_future(call.door.receive())
    await asyncio.wait((watch,), timeout=wait_s)
    if not watch.done():
        watch.cancel()
        return False
    return bool(watch.result()["type"] == "http.disconnect")
