"""What follows an attempt that failed: the same candidate again, the next one, or the end. Pure.

1. What the caller caused (400, 404, 413, 422 and other 4xx) ends the call: it would fail anywhere.
2. What our own account with the provider caused (401, 402, 403, no quota), or how it is set up here (no credential, a
   certificate that nobody vouches for), goes on to the next candidate at once.
3. 408, 409, 429, 5xx, 529, no connection, garbage, a stream cut before its first byte: the same candidate again, up
   to the provider's `retries`, after an exponential pause with full jitter, or as long as `retry-after` says; then on.
4. A timeout goes on to the next candidate: one that just hung is not asked blindly again while another is left.
5. Never after the first byte: the caller has seen half an answer.

Time: each candidate has the call's patience once. A retry takes only what the candidates after it can spare, so a
first candidate that fails slowly cannot use up its fallbacks' time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

RATE_LIMITED, FAILING, TIMED_OUT, UNREACHABLE, GARBAGE, CUT = (
    "rate_limited", "failing", "timed_out", "unreachable", "garbage", "cut"
)  # fmt: skip
BUSY, ACCOUNT, MISCONFIGURED, CALLER = "busy", "account", "misconfigured", "caller"

# What the breaker counts; RATE_LIMITED is a pause instead (gateway/routing/breaker.py says why).
FAILURES = frozenset({FAILING, TIMED_OUT, UNREACHABLE, GARBAGE, CUT})

FIRST_PAUSE_SECONDS = 0.2
# Longer than this the next candidate is worth more than the wait, while there is one.
WAIT_SECONDS = 2.0
LEAST_SECONDS = 0.05  # an attempt with less time than this cannot come to anything

NO_QUOTA = "insufficient_quota"  # OpenAI's 429 that no waiting helps
_ACCOUNT_STATUSES = frozenset({401, 402, 403, 407})
_BUSY_STATUSES = frozenset({408, 409, 425})  # the official SDKs try these again too; no fault that a breaker counts
# How a call's error names each kind.
_WORDS = {
    RATE_LIMITED: "rate limited",
    TIMED_OUT: "timed out",
    UNREACHABLE: "could not be reached",
    GARBAGE: "answered with what is no answer",
    CUT: "broke off before its first byte",
    ACCOUNT: "refused our credential",
    MISCONFIGURED: "cannot be called as it is set up",
}


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt that failed."""

    kind: str
    status: int = 0
    retry_after_s: float | None = None
    has_begun: bool = False  # the caller has seen bytes of it
    may_retry: bool = True  # unless the provider says that asking it again is of no use

    @property
    def is_callers(self) -> bool:
        """The caller caused it: it would fail anywhere."""
        return self.kind == CALLER


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left: `retries` of this candidate, `candidates` after it, `left_s` of the call, `patience_s` of each.

    `kept_s`: what those after it need, where their patience is not the same.
    """

    retries: int
    candidates: int
    left_s: float
    patience_s: float
    kept_s: float | None = None

    @property
    def spare_s(self) -> float:
        """What this candidate may still take, its successors' patience put aside."""
        return self.left_s - (self.candidates * self.patience_s if self.kept_s is None else self.kept_s)


@dataclass(frozen=True, slots=True)
class Next:
    """What to do: `move` 0 the same candidate again, 1 the next one, -1 give up; after `wait_s`."""

    move: int
    wait_s: float = 0.0

    @property
    def is_end(self) -> bool:
        return self.move < 0


GIVE_UP, GO_ON = Next(-1), Next(1)


def kind_of_status(status: int, error_type: str = "") -> str:
    """The kind of a provider's own error."""
    if error_type == NO_QUOTA:
        return ACCOUNT
    if status == 429:
        return RATE_LIMITED
    if status >= 500:
        return FAILING
    if status in _BUSY_STATUSES:
        return BUSY
    return ACCOUNT if status in _ACCOUNT_STATUSES else CALLER


def after(tried: Tried, attempt: int, budget: Budget, rng: Random) -> Next:
    """What follows the `attempt`-th try (from 1) at this candidate."""
    if tried.has_begun or tried.kind == CALLER:
        return GIVE_UP
    go_on = GO_ON if budget.candidates and budget.left_s > LEAST_SECONDS else GIVE_UP
    if tried.kind in (ACCOUNT, MISCONFIGURED) or not tried.may_retry or attempt > budget.retries:
        return go_on
    if tried.kind == TIMED_OUT and budget.candidates:
        return go_on
    wait_s = _wait(tried, attempt, rng)
    if wait_s > WAIT_SECONDS and budget.candidates:
        return go_on
    return Next(0, wait_s) if budget.spare_s - wait_s > LEAST_SECONDS else go_on


def _wait(tried: Tried, attempt: int, rng: Random) -> float:
    if tried.retry_after_s is not None:
        return max(0.0, tried.retry_after_s)
    return rng.uniform(0.0, FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))


def whole_seconds(patience_s: float, candidates: int) -> float:
    """The whole call's patience: each candidate's once."""
    return patience_s * max(1, candidates)


def attempt_seconds(budget: Budget) -> float:
    """How long the attempt that begins now may take."""
    return max(LEAST_SECONDS, min(budget.patience_s, budget.spare_s if budget.candidates else budget.left_s))


def named(tries: Sequence[tuple[str, Tried]]) -> list[str]:
    """What became of each candidate at last, in a few words: never one generic message (S4-06)."""
    last: dict[str, str] = {}
    for name, tried in tries:
        last.pop(name, None)
        last[name] = _WORDS.get(tried.kind) or (f"answered {tried.status}" if tried.status >= 400 else "said an error")
    return [f"{name} {words}" for name, words in last.items()]


def told(tries: Sequence[tuple[str, Tried]], last_message: str) -> str:
    """One sentence on all that were tried, the last one's own message last; of one candidate that message alone."""
    said = named(tries)
    if len(said) < 2:
        return last_message
    return f"all {len(said)} candidates failed: {'; '.join(said)} ({last_message})"
