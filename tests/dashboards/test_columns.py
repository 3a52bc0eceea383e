"""The overview's three numbers against the same time of earlier weeks."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from llmobs.core.clock import NS_PER_SECOND, ns_from_utc
from tests.dashboards.cast import Cast
from tests.dashboards.seed import FEATURES

Weeks = Callable[..., None]


@pytest.fixture
def calls(empty_cast: Cast) -> Weeks:
    """Add calls of five minutes ago, so many weeks before: how many, how long each, how many of them failed."""

    def add(weeks: float, number: int, seconds: float = 1.0, failed: int = 0) -> None:
        seeder = empty_cast.seeder
        at = ns_from_utc(empty_cast.now - timedelta(minutes=5, weeks=weeks))
        fault = {"status": "failed", "error_type": "overloaded_error", "usage": None}
        spans = [
            seeder.call(FEATURES[0], at, duration_ns=int(seconds * NS_PER_SECOND), **(fault if n < failed else {}))
            for n in range(number)
        ]
        seeder.commit(spans)

    return add


def words_of(cast: Cast, column: str) -> tuple[str, str]:
    """(shape, words) of a column's verdict over the last hour."""
    verdict = cast.as_(cast.alice).get("/?last=1h").context[column].verdict
    return verdict.kind, verdict.words


def test_with_one_earlier_week_there_is_no_usual_yet(calls: Weeks, empty_cast: Cast) -> None:
    for week in (0, 1):
        calls(week, 120, failed=1)
    calls(1.2, 1)
    assert words_of(empty_cast, "cost") == ("unknown", "No usual yet")
    assert words_of(empty_cast, "latency") == ("ok", "Within the objective")
    assert words_of(empty_cast, "errors") == ("unknown", "No usual yet")


def test_what_two_weeks_did_too_is_as_usual(calls: Weeks, empty_cast: Cast) -> None:
    for week in (0, 1, 2):
        calls(week, 120, failed=2)
    calls(2.2, 1)
    assert words_of(empty_cast, "cost")[0] in ("ok", "warn")
    assert words_of(empty_cast, "latency") == ("ok", "As usual")
    assert words_of(empty_cast, "errors") == ("ok", "As usual")


def test_three_times_the_calls_twice_as_slow_and_more_errors_are_above_the_usual(
    calls: Weeks, empty_cast: Cast
) -> None:
    for week in (1, 2):
        calls(week, 120, failed=2)
    calls(2.2, 1)
    calls(0, 400, seconds=2, failed=14)
    kind, words = words_of(empty_cast, "cost")
    assert kind == "warn"
    assert words.endswith("usual")
    assert words_of(empty_cast, "latency") == ("warn", "2.0× usual")
    assert words_of(empty_cast, "errors") == ("warn", "2.1× usual")


def test_past_the_objective_comes_before_the_usual(calls: Weeks, empty_cast: Cast) -> None:
    for week in (0, 1, 2):
        calls(week, 120, seconds=6)
    calls(2.2, 1)
    assert words_of(empty_cast, "latency") == ("warn", "Past the objective")


def test_a_spike_is_measured_against_what_is_usual_here(calls: Weeks, empty_cast: Cast) -> None:
    for week in (1, 2):
        calls(week, 120, failed=12)
    calls(2.2, 1)
    calls(0, 120, failed=18)
    assert words_of(empty_cast, "errors") == ("warn", "1.5× usual")
    calls(0, 120, failed=100)
    assert words_of(empty_cast, "errors") == ("bad", "Spike")


def test_a_spike_that_is_over_is_still_named(calls: Weeks, empty_cast: Cast) -> None:
    calls(0, 120)
    empty_cast.seeder.commit(empty_cast.seeder.spike(40, 5, 0.5))
    context = empty_cast.as_(empty_cast.alice).get("/").context
    assert context["errors"].verdict.words == "No errors"
    assert context["errors"].context.startswith("Spike ")
