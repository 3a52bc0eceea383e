"""How long an answer counts, by feature."""

import pytest

from llmobs.tenants.caching import ttl_for


@pytest.mark.parametrize(
    ("ttl_seconds", "feature", "expected"),
    [
        ({}, "", 3600),
        ({}, "faq", 3600),
        ({"*": 60}, "faq", 60),
        ({"faq": 172_800, "*": 60}, "faq", 172_800),
        ({"faq": 172_800}, "chat", 3600),
        ({"news": 0}, "news", 0),
        ({"*": 0}, "", 0),
    ],
)
def test_the_features_own_time_then_all_others_then_an_hour(
    ttl_seconds: dict[str, int], feature: str, expected: int
) -> None:
    """S0-48, S2-10: 3,600 s unless set by volatility."""
    assert ttl_for(ttl_seconds, feature) == expected
