"""The board of the gateways becomes durable stretches, and each outage one alert to the operators."""

from datetime import UTC, datetime, timedelta

import pytest
import redis
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dashboards.queries.health import unhealthy_between, unhealthy_now, worst_by_provider
from llmobs.alerts.models import Alert, Channel, Delivery
from llmobs.alerts.outages import raise_outages
from llmobs.alerts.tasks import raise_and_deliver
from llmobs.health.board import STATES_KEY, Row
from llmobs.health.follow import follow
from llmobs.health.models import ProviderState
from llmobs.health.tasks import follow_board
from llmobs.providers.models import Provider
from llmobs.tenants.models import Tenant
from llmobs.tenants.plain_connection import plain_connection
from tests.tenants.cast import as_person, make_cast

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
OPENED_MS = int(NOW.timestamp() * 1000) - 4_000


@pytest.fixture
def openai(db: None) -> Provider:
    return Provider.objects.create(name="openai", dialect="openai", base_url="https://api.openai.com/v1")


def board(provider: Provider, phase: str, since_ms: int = OPENED_MS, step: int = 0) -> dict[str, Row]:
    return {f"{provider.pk}.0123abcd/gpt-4o": Row(1, 1, phase, step, since_ms, since_ms + 30_000)}


def stretches() -> list[tuple[str, str, int, bool]]:
    rows = ProviderState.objects.order_by("since")
    return [(row.model, row.state, row.share_percent, row.until is None) for row in rows]


def test_an_open_breaker_is_a_stretch_that_lasts(openai: Provider) -> None:
    """S4-17: the state outlives the board."""
    assert follow(board(openai, "open"), NOW) == 1
    assert follow(board(openai, "open"), NOW + timedelta(seconds=5)) == 0
    assert stretches() == [("gpt-4o", "unhealthy", 0, True)]
    assert ProviderState.objects.get().since == NOW - timedelta(seconds=4)


def test_it_recovers_and_is_healthy_again(openai: Provider) -> None:
    """S4-18: recovering, with its share of the calls, then no stretch at all."""
    follow(board(openai, "open"), NOW)
    follow(board(openai, "ramp", OPENED_MS + 31_000, step=2), NOW + timedelta(seconds=40))
    assert stretches() == [("gpt-4o", "unhealthy", 0, False), ("gpt-4o", "recovering", 50, True)]
    assert unhealthy_now(connection.cursor())[0].words == "recovering (50 % of traffic)"
    follow(board(openai, "closed", OPENED_MS + 60_000), NOW + timedelta(seconds=60))
    assert [is_open for *_, is_open in stretches()] == [False, False]
    assert unhealthy_now(connection.cursor()) == []
    assert len(unhealthy_between(connection.cursor(), NOW, NOW + timedelta(hours=1))) == 2


def test_a_board_that_was_lost_ends_what_it_said(openai: Provider) -> None:
    follow(board(openai, "open"), NOW)
    follow({}, NOW + timedelta(seconds=5))
    assert stretches() == [("gpt-4o", "unhealthy", 0, False)]


def test_a_provider_that_is_gone_is_passed_over(openai: Provider) -> None:
    assert follow({"999999.0123abcd/gpt-4o": Row(1, 1, "open", 0, 1, 1), "?": Row(1, 1, "open", 0, 1, 1)}, NOW) == 0


def test_the_worst_model_names_the_provider(openai: Provider) -> None:
    rows = board(openai, "ramp") | {f"{openai.pk}.0123abcd/o3": Row(2, 2, "open", 0, OPENED_MS, OPENED_MS)}
    follow(rows, NOW)
    assert worst_by_provider(unhealthy_now(connection.cursor()))["openai"].model == "o3"


def test_operators_are_told_once_of_an_outage(openai: Provider) -> None:
    """S2-25: a breaker that opens is alerted on: once, however often its probes fail, and to operators alone."""
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    Channel.objects.create(tenant=None, name="ops", url="mailto:ops@example.com")
    Channel.objects.create(tenant=tenant, name="theirs", url="mailto:acme@example.com")
    for second, phase in enumerate(("open", "open", "ramp", "open", "ramp")):
        follow(board(openai, phase, OPENED_MS + second), NOW + timedelta(seconds=second))
        raise_outages(plain_connection(), NOW)
    alert = Alert.objects.get()
    assert (alert.kind, alert.tenant) == ("provider_unhealthy", None)
    assert "openai/gpt-4o" in alert.title
    assert [delivery.channel.name for delivery in Delivery.objects.all()] == ["ops"]


def test_an_outage_later_on_is_told_again(openai: Provider) -> None:
    for second, phase in enumerate(("open", "ramp", "closed", "open")):
        follow(board(openai, phase, OPENED_MS + second), NOW + timedelta(seconds=second))
    assert raise_outages(plain_connection(), NOW) == 2


@pytest.mark.django_db(transaction=True)
def test_the_worker_carries_it_from_the_board_to_the_mail(valkey: redis.Redis) -> None:
    """S2-25: from a gateway's row in Valkey to the operators' inbox."""
    made = Provider.objects.create(name="openai", dialect="openai", base_url="https://api.openai.com/v1")
    Channel.objects.create(tenant=None, name="ops", url="mailto:ops@example.com")
    valkey.hset(STATES_KEY, f"{made.pk}.0123abcd/gpt-4o", f"3 3 open 0 {OPENED_MS} {OPENED_MS + 30000} 0 ")
    valkey.hset(STATES_KEY, "#", "3")
    follow_board()
    raise_and_deliver()
    assert [message.subject.split(" is ")[0] for message in mail.outbox] == ["openai/gpt-4o"]


def test_rest_shows_operators_the_state_of_each_provider(openai: Provider) -> None:
    """S4-17: read-only, per model, for operators; a list asks no more for more providers."""
    cast = make_cast()
    follow(board(openai, "open"), NOW)
    client = as_person(cast.olga)
    with CaptureQueriesContext(
        connection,
    ) as few:
        shown = {row["name"]: row for row in client.get("/api/v1/providers/").json()["results"]}
    assert shown["openai"]["state"] == "unhealthy"
    assert [(s["model"], s["state"]) for s in shown["openai"]["states"]] == [("gpt-4o", "unhealthy")]
    for number in range(5):
        Provider.objects.create(name=f"p{number}", dialect="openai", base_url="https://p.example.com/v1")
    with CaptureQueriesContext(connection) as more:
        assert len(client.get("/api/v1/providers/").json()["results"]) == 6
    assert len(more) == len(few)
    made = client.post(
        "/api/v1/providers/", {"name": "new", "dialect": "openai", "base_url": "https://n.example.com"}, format="json"
    ).json()
    assert (made["state"], made["states"]) == ("healthy", [])
