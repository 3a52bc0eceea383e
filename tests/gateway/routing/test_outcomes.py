"""What a failed attempt says to retries and breakers."""

import pytest

from gateway.errors import AttemptFailed, ProviderFailed, ProviderGarbage, ProviderTimeout, ProviderUnavailable
from gateway.routing.outcomes import of_failure, of_status
from gateway.routing.retrying import FAILURES, Tried


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (ProviderTimeout("late"), "timed_out"),
        (ProviderGarbage("what"), "garbage"),
        (ProviderUnavailable("refused", may_be_billed=False), "unreachable"),
        (ProviderUnavailable("it ended before its end"), "cut"),
        (ProviderFailed("overloaded_error as a stream's first event"), "failing"),
    ],
)
def test_each_failure_counts_for_the_breaker(failure: AttemptFailed, kind: str) -> None:
    """S4-16: timeouts, connections, cuts and garbage, each by its name."""
    assert of_failure(failure).kind == kind
    assert kind in FAILURES


def test_a_providers_own_error_goes_by_its_status() -> None:
    assert of_status(200) is None
    assert of_status(429, "rate_limit_exceeded", 2.0) == Tried("rate_limited", 429, 2.0)
    assert of_status(429, "insufficient_quota") == Tried("account", 429)
    assert of_status(529) == Tried("failing", 529)
    assert of_status(400) == Tried("caller", 400)
