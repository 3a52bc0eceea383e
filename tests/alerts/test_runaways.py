"""S2-02: a paused session becomes an alert with its release link, told once for each state, resolved by its release."""

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings

from llmobs.alerts.models import Alert
from llmobs.alerts.runaways import raise_runaways
from llmobs.brake.link import pause_of
from llmobs.brake.models import BrakedSession
from llmobs.tenants.plain_connection import plain_connection
from tests.brake.made import episode
from tests.tenants.cast import Cast, make_cast

NOW = datetime.now(UTC)


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast()


def told() -> int:
    return raise_runaways(plain_connection(), NOW, settings.SECRET_KEY)


def test_a_pause_is_told_once_with_its_link(cast: Cast) -> None:
    session = episode(cast.acme)
    assert [told(), told()] == [1, 0]
    alert = Alert.objects.get()
    assert (alert.tenant, alert.kind, alert.severity) == (cast.acme, "runaway", "critical")
    assert alert.title.startswith("Session run-1 is paused: 104 calls within 10 min")
    assert (alert.body["cost_usd"], alert.body["alike_calls"]) == ("1.04", 103)
    assert pause_of(alert.link.removeprefix("/brake/").rstrip("/"), settings.SECRET_KEY) == session.pk


def test_slowed_and_then_paused_are_two_alerts(cast: Cast) -> None:
    session = episode(cast.acme, state="slowed", until=None)
    told()
    BrakedSession.objects.filter(pk=session.pk).update(state="paused", until=NOW + timedelta(hours=1), alerted_at=None)
    told()
    assert [alert.severity for alert in Alert.objects.order_by("pk")] == ["warning", "critical"]


def test_a_release_resolves_it(cast: Cast) -> None:
    session = episode(cast.acme)
    told()
    BrakedSession.objects.filter(pk=session.pk).update(state="released", ended_at=NOW, ended_by="alice")
    told()
    alert = Alert.objects.get()
    assert (alert.state, alert.resolved_by) == ("resolved", "alice")
