"""The page of providers: state by the breakers, figures of attempts, and who answered instead."""

from datetime import timedelta
from typing import Any

import psycopg
from django.utils import timezone

from llmobs.budgets.definition import Budgets
from llmobs.health.models import ProviderState
from llmobs.ingest.commit import Batch, commit_batch
from llmobs.providers.models import Provider
from tests.dashboards.cast import Cast
from tests.ingest.calls import fallen_back, hit

Connection = psycopg.Connection[Any]


def state(name: str, model: str, minutes_ago: int, minutes: int | None, kind: str = "unhealthy") -> None:
    provider, _ = Provider.objects.get_or_create(
        name=name, defaults={"dialect": "openai", "base_url": "https://x.example"}
    )
    since = timezone.now() - timedelta(minutes=minutes_ago)
    until = since + timedelta(minutes=minutes) if minutes is not None else None
    ProviderState.objects.create(
        provider=provider,
        model=model,
        state=kind,
        share_percent=25 if kind == "recovering" else 0,
        since=since,
        until=until,
    )


def stored(cast: Cast, pg: Connection, calls: int = 3) -> Any:
    spans = [each for _ in range(calls) for each in fallen_back(cast.acme.pk)] + [hit(cast.acme.pk)]
    commit_batch(pg, Batch(spans=spans), Budgets())


def test_each_attempt_counts_where_it_went(empty_cast: Cast, pg: Connection) -> None:
    """S4-17: healthy, degraded, unhealthy, each with its figures; what the cache gave is no provider's."""
    stored(empty_cast, pg)
    found = empty_cast.as_(empty_cast.alice).get("/providers/").context["found"]
    lines = {each.line.provider: each.line for each in found.providers}
    assert {name: (line.calls, line.errors) for name, line in lines.items()} == {"anthropic": (3, 3), "openai": (3, 0)}
    assert lines["anthropic"].state.words == "degraded"
    assert lines["openai"].state.words == "healthy"
    assert found.calls == 6


def test_who_answered_instead_is_told(empty_cast: Cast, pg: Connection) -> None:
    stored(empty_cast, pg)
    [row] = empty_cast.as_(empty_cast.alice).get("/providers/").context["replaced"]
    assert (row.asked, row.asked_model, row.answered, row.answered_model, row.calls) == (
        "anthropic", "claude-sonnet-4-5", "openai", "gpt-4o-mini", 3,
    )  # fmt: skip
    filtered = empty_cast.as_(empty_cast.alice).get("/providers/", {"feature": "other"})
    assert filtered.context["replaced"] == []


def test_a_breaker_comes_first_with_its_time_and_leads_to_its_calls(empty_cast: Cast, pg: Connection) -> None:
    """S4-17: the state that routing acts by, since when, and what it was before."""
    stored(empty_cast, pg)
    state("openai", "gpt-4o-mini", 50, 10)
    state("openai", "gpt-4o-mini", 5, None, "recovering")
    response = empty_cast.as_(empty_cast.alice).get("/providers/")
    first = response.context["found"].providers[0]
    page = response.content.decode().replace("\u00a0", " ")
    assert (first.line.provider, first.line.state.words) == ("openai", "recovering (25 % of traffic)")
    assert [(change.stretch.state, change.took) for change in response.context["changes"]] == [
        ("recovering", ""),
        ("unhealthy", "10\u00a0min 0\u00a0s"),
    ]
    assert "provider=openai&amp;model=gpt-4o-mini" in page
    assert "still" in page
    assert '<span class="n warn">' in page


def test_the_charts_mark_when_a_breaker_opened(empty_cast: Cast, pg: Connection) -> None:
    stored(empty_cast, pg)
    state("anthropic", "claude-sonnet-4-5", 30, 2)
    page = empty_cast.as_(empty_cast.alice).get("/").content.decode()
    assert page.count("breaker opened: anthropic") > 0


def test_a_provider_of_another_tenant_is_not_named(empty_cast: Cast, pg: Connection) -> None:
    stored(empty_cast, pg)
    state("secretive", "m", 5, None)
    commit_batch(pg, Batch(spans=fallen_back(empty_cast.globex.pk)), Budgets())
    for path in ("/providers/", "/"):
        assert "secretive" not in empty_cast.as_(empty_cast.charlie).get(path).content.decode()
    assert "secretive" in empty_cast.as_(empty_cast.operator).get("/providers/").content.decode()


def test_without_calls_it_says_how_to_send_some(empty_cast: Cast) -> None:
    assert "No calls yet" in empty_cast.as_(empty_cast.alice).get("/providers/").content.decode()
