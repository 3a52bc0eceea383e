"""What the overview says of a provider when a breaker acts."""

from datetime import timedelta

import psycopg
import pytest
from django.utils import timezone

from llmobs.health.models import ProviderState
from llmobs.providers.models import Provider
from tests.dashboards.cast import Cast


@pytest.mark.parametrize(
    ("state", "share", "words"), [("unhealthy", 0, "unhealthy"), ("recovering", 25, "recovering (25 % of traffic)")]
)
def test_the_overview_shows_the_breakers_state(
    state: str, share: int, words: str, cast: Cast, pg: "psycopg.Connection"
) -> None:
    """S4-17: the state that routing acts by, whatever the share of errors says."""
    provider = Provider.objects.create(name="openai", dialect="openai", base_url="https://api.openai.com/v1")
    since = timezone.now() - timedelta(seconds=20)
    ProviderState.objects.create(provider=provider, model="gpt-4o", state=state, share_percent=share, since=since)
    assert words in cast.as_(cast.alice).get("/").content.decode()
