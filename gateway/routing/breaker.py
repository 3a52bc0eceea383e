"""Whether a provider's model may be tried: its breaker, as pure transitions. Times are seconds of one clock.

    closed ── 5 failures in a row, or more than half of at least 10 calls in 30 s ──▶ open
    open   ── after 30 s one probe goes: it succeeds ──▶ ramp; it fails ──▶ open for another 30 s
    ramp   ── 10, 25, 50, 100 % of the calls, each for 5 s with success ──▶ closed; mostly failures ──▶ open

A failure is a timeout, no connection, a 5xx or 529, garbage, or a stream cut before its first byte. A caller's 4xx is
none: whoever sends bad requests must not take a model from all others. Neither is a 429: the provider is up and says
when it takes more, so the model is put behind the others for that long, and nobody's burst opens the breaker for all.
"""

from dataclasses import dataclass

CLOSED, OPEN, RAMP = "closed", "open", "ramp"
HEALTHY, DEGRADED, UNHEALTHY, RECOVERING = "healthy", "degraded", "unhealthy", "recovering"

FAILURES_IN_A_ROW = 5
WINDOW_SECONDS = 30
LEAST_CALLS = 10  # of the window, before its share of failures says anything
OPEN_SECONDS = 30.0
STEP_SECONDS = 5.0
# A step without any call says nothing; but what nobody calls must not stay half closed for ever.
IDLE_SECONDS = 30.0
SHARES = (0.1, 0.25, 0.5, 1.0)
DEGRADED_SHARE = 0.05  # of failures, below the trip
DEGRADED_RUN = 3


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of the calls since the breaker last changed, within the window.

    `run`: failures since the last success.
    """

    ok: int = 0
    failed: int = 0
    run: int = 0

    @property
    def total(self) -> int:
        return self.ok + self.failed


@dataclass(frozen=True, slots=True)
class Breaker:
    """`until_s`: open until a probe may go; of a ramp, the end of its step."""

    phase: str = CLOSED
    step: int = 0
    until_s: float = 0.0
    since_s: float = 0.0

    @property
    def share(self) -> float:
        """Of the calls that may pass."""
        return {CLOSED: 1.0, OPEN: 0.0}.get(self.phase, SHARES[self.step])


def judged(breaker: Breaker, seen: Seen, now_s: float) -> Breaker:
    """The breaker after what was seen; the same object where nothing changes."""
    if breaker.phase == CLOSED:
        return opened(now_s) if _trips(seen) else breaker
    if breaker.phase == RAMP:
        return _ramped(breaker, seen, now_s)
    return breaker


def probed(has_succeeded: bool, now_s: float) -> Breaker:
    """An open breaker after its probe."""
    return Breaker(RAMP, 0, now_s + STEP_SECONDS, now_s) if has_succeeded else opened(now_s)


def opened(now_s: float) -> Breaker:
    """Open from now on."""
    return Breaker(OPEN, 0, now_s + OPEN_SECONDS, now_s)


def state_of(breaker: Breaker, seen: Seen, is_cooling: bool = False) -> str:
    """The word that pages and alerts use."""
    if breaker.phase == OPEN:
        return UNHEALTHY
    if breaker.phase == RAMP:
        return RECOVERING
    return DEGRADED if is_cooling or is_failing(seen) else HEALTHY


def is_failing(seen: Seen) -> bool:
    """More than now and then, but below the trip."""
    is_often = seen.total >= LEAST_CALLS and seen.failed > DEGRADED_SHARE * seen.total
    return seen.run >= DEGRADED_RUN or is_often


def _trips(seen: Seen) -> bool:
    return seen.run >= FAILURES_IN_A_ROW or (seen.total >= LEAST_CALLS and 2 * seen.failed > seen.total)


def _ramped(breaker: Breaker, seen: Seen, now_s: float) -> Breaker:
    if seen.failed > seen.ok:
        return opened(now_s)
    is_quiet = not seen.total and now_s >= breaker.until_s + IDLE_SECONDS
    has_succeeded = seen.ok > 0 and now_s >= breaker.until_s
    if not (is_quiet or has_succeeded):
        return breaker
    if breaker.step + 1 == len(SHARES):
        return Breaker(CLOSED, 0, 0.0, now_s)
    return Breaker(RAMP, breaker.step + 1, now_s + STEP_SECONDS, breaker.since_s)
