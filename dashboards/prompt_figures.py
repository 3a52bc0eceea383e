"""A/B tests of prompts in words: how sure is it that a variant is better or worse than control?

Fewer than 100 calls of an arm say nothing. A variant that fails more often (the Wilson intervals of the two shares do
not meet) is worse, however it scores. Then the judges' scores decide where each arm has 30 (the interval of the
difference of two means), else fewer errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff
from math import sqrt

from dashboards.usual import Z_95, wilson_lower
from llmobs.prompts.results import Result

LEAST_CALLS = 100  # as for a percentile that is drawn firm (FACES.md, Charts)
LEAST_JUDGED = 30
MOST_LINES = 200  # of a difference


@dataclass(frozen=True)
class Verdict:
    """A shape and words, with what they rest on."""

    kind: str
    words: str
    because: str


@dataclass(frozen=True)
class Interval:
    """From where to where a figure may be, at 95 %."""

    low: float
    high: float


def error_interval(result: Result) -> Interval | None:
    if not result.calls:
        return None
    low, right = wilson_lower(result.errors, result.calls), wilson_lower(result.calls - result.errors, result.calls)
    return Interval(max(low, 0.0), 1 - max(right, 0.0))


def score_interval(result: Result) -> Interval | None:
    if result.score is None or result.score_deviation is None or result.judged < 2:
        return None
    spread = Z_95 * result.score_deviation / sqrt(result.judged)
    return Interval(result.score - spread, result.score + spread)


def verdict(control: Result, variant: Result) -> Verdict:
    """What is known of a variant against control."""
    fewest = min(control.calls, variant.calls)
    if fewest < LEAST_CALLS:
        return Verdict("unknown", "too early to say", f"{fewest} of {LEAST_CALLS} calls in the smaller arm")
    own, other = error_interval(variant), error_interval(control)
    if own and other and own.low > other.high:
        return Verdict("bad", "fails more often", "the intervals of the errors do not meet")
    by_score = _by_score(control, variant)
    if by_score is not None:
        return by_score
    if own and other and own.high < other.low:
        return Verdict("ok", "fails less often", "the intervals of the errors do not meet")
    return Verdict("unknown", "no difference seen", f"{fewest} calls in the smaller arm")


def _by_score(control: Result, variant: Result) -> Verdict | None:
    if min(control.judged, variant.judged) < LEAST_JUDGED or control.score is None or variant.score is None:
        return None
    a, b = control.score_deviation or 0.0, variant.score_deviation or 0.0
    spread = Z_95 * sqrt(a * a / control.judged + b * b / variant.judged)
    difference = variant.score - control.score
    if abs(difference) <= spread:
        return None
    sign = "+" if difference > 0 else "−"
    because = f"score {sign}{abs(difference):.2f}, ± {spread:.2f}"
    return Verdict("ok", "scores higher", because) if difference > 0 else Verdict("bad", "scores lower", because)


def changed_lines(before: Sequence[dict[str, str]], after: Sequence[dict[str, str]]) -> list[tuple[str, str]]:
    """What another version says otherwise: (sign, line), the sign +, − or a space."""
    lines = unified_diff(_lines(before), _lines(after), n=2, lineterm="")
    found = [(line[:1].replace("-", "−"), line[1:]) for line in lines if not line.startswith(("---", "+++", "@@"))]
    while found and found[-1] == (" ", ""):
        found.pop()
    return found[:MOST_LINES]


def _lines(messages: Sequence[dict[str, str]]) -> list[str]:
    return [line for message in messages for line in (f"{message['role']}:", *message["content"].splitlines(), "")]
