"""What follows an attempt that failed."""

from random import Random

import pytest

from gateway.routing import retrying
from gateway.routing.retrying import Budget, Tried, after, attempt_seconds, kind_of_status, told, whole_seconds

PATIENT = Budget(retries=2, candidates=1, left_s=30.0, patience_s=15.0)
ALONE = Budget(retries=2, candidates=0, left_s=15.0, patience_s=15.0)
AGAIN = ["rate_limited", "failing", "unreachable", "garbage", "cut", "busy"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "caller"), (404, "caller"), (413, "caller"), (422, "caller"), (401, "account"), (403, "account"),
        (402, "account"), (408, "busy"), (409, "busy"), (429, "rate_limited"), (500, "failing"), (503, "failing"),
        (529, "failing"),
    ],
)  # fmt: skip
def test_each_status_has_its_kind(status: int, kind: str) -> None:
    """S4-06: errors are kept apart."""
    assert kind_of_status(status) == kind


@pytest.mark.parametrize("kind", AGAIN)
def test_it_tries_the_same_candidate_three_times_then_the_next(kind: str) -> None:
    """S0-28, S2-13: three attempts, then the secondary."""
    moves = [after(Tried(kind), attempt, PATIENT, Random(1)).move for attempt in (1, 2, 3)]
    assert moves == [0, 0, 1]


def test_the_pause_doubles_with_full_jitter() -> None:
    """S2-13: exponential backoff from 0.2 s."""
    rng = Random(7)
    first = [after(Tried("failing"), 1, PATIENT, rng).wait_s for _ in range(500)]
    second = [after(Tried("failing"), 2, PATIENT, rng).wait_s for _ in range(500)]
    assert 0.0 <= min(first) < 0.02 < 0.18 < max(first) <= 0.2
    assert 0.0 <= min(second) < 0.04 < 0.36 < max(second) <= 0.4


def test_a_timeout_goes_to_the_next_candidate_at_once() -> None:
    """S3-11, S4-04, S4-16, S4-17: what just hung is not asked blindly again."""
    assert after(Tried("timed_out"), 1, PATIENT, Random(1)) == retrying.GO_ON


def test_a_timeout_of_the_only_candidate_ends_with_its_patience() -> None:
    """S0-29, S3-13: the timeout holds for the call, not for each of three tries."""
    assert after(Tried("timed_out"), 1, Budget(2, 0, 0.0, 15.0), Random(1)).is_end


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_what_the_caller_caused_ends_the_call(status: int) -> None:
    """S0-28: only what is the provider's fault is retried."""
    assert after(Tried(kind_of_status(status), status), 1, PATIENT, Random(1)).is_end


@pytest.mark.parametrize("status", [401, 402, 403])
def test_what_our_account_caused_goes_to_the_next(status: int) -> None:
    tried = Tried(kind_of_status(status), status)
    assert after(tried, 1, PATIENT, Random(1)) == retrying.GO_ON
    assert after(tried, 1, ALONE, Random(1)).is_end


def test_never_after_the_first_byte() -> None:
    assert after(Tried("cut", has_begun=True), 1, PATIENT, Random(1)).is_end


def test_retry_after_is_honoured_within_the_calls_patience() -> None:
    """S4-04: a 429 says how long."""
    assert after(Tried("rate_limited", 429, 1.5), 1, PATIENT, Random(1)) == retrying.Next(0, 1.5)
    assert after(Tried("rate_limited", 429, 10.0), 1, ALONE, Random(1)) == retrying.Next(0, 10.0)
    assert after(Tried("rate_limited", 429, 20.0), 1, ALONE, Random(1)).is_end
    assert after(Tried("rate_limited", 429, 10.0), 1, PATIENT, Random(1)) == retrying.GO_ON


def test_an_account_without_quota_is_not_waited_for() -> None:
    """S4-06: a 429 that no waiting helps is another thing than a rate limit."""
    assert kind_of_status(429, "insufficient_quota") == "account"


def test_a_slow_first_candidate_leaves_the_next_its_time() -> None:
    """S3-13: each candidate has the patience once."""
    assert whole_seconds(5.0, 2) == 10.0
    assert attempt_seconds(Budget(2, 1, 10.0, 5.0)) == 5.0
    assert attempt_seconds(Budget(2, 1, 6.0, 5.0)) == 1.0
    assert attempt_seconds(Budget(2, 0, 3.0, 5.0)) == 3.0
    assert after(Tried("failing", 503), 1, Budget(2, 1, 5.0, 5.0), Random(1)) == retrying.GO_ON


def test_no_retries_where_a_provider_has_none() -> None:
    assert after(Tried("failing", 500), 1, Budget(0, 1, 30.0, 15.0), Random(1)) == retrying.GO_ON


def test_one_error_says_that_all_failed_with_the_last_one_last() -> None:
    """S0-30: one error saying that both failed, with the last error."""
    tries = [("openai/gpt-4o", Tried("timed_out")), ("anthropic/claude", Tried("failing", 529))]
    said = "all 2 candidates failed: openai/gpt-4o timed out; anthropic/claude answered 529 (overloaded)"
    assert told(tries, "overloaded") == said
    assert told(tries[1:] * 3, "overloaded") == "overloaded"
