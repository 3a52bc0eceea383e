"""A threshold that was passed becomes one alert, delivered to every channel of its tenant and to no other."""

from datetime import UTC, datetime

import psycopg
import pytest
from django.core import mail

from llmobs.alerts import changing
from llmobs.alerts.models import Alert, Channel, Delivery
from llmobs.alerts.tasks import raise_and_deliver
from llmobs.budgets.models import Budget
from llmobs.core.money import NANOUSD_PER_USD
from llmobs.providers.models import Overrun, Provider
from llmobs.tenants.config_version import config_version
from llmobs.tenants.models import Tenant
from tests.alerts.far_end import Receiver

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def budget(pg: psycopg.Connection, transactional_db: None) -> Budget:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    return Budget.objects.create(tenant=tenant, name="monthly", limit_nanousd=100 * NANOUSD_PER_USD)


def passed(pg: psycopg.Connection, budget: Budget, threshold: int, value: str = "") -> None:
    """What the writer commits with the spend that passes a threshold."""
    pg.execute(
        "INSERT INTO threshold_event (tenant_id, budget_id, revision, value, window_start, threshold, spent, "
        "limit_amount) VALUES (%s, %s, 1, %s, '2026-11-01', %s, %s, %s)",
        (budget.tenant_id, budget.pk, value, threshold, 81_500_000_000, budget.limit_nanousd),
    )


def test_a_passed_threshold_reaches_webhook_and_mail_once(
    pg: psycopg.Connection, budget: Budget, receiver: Receiver
) -> None:
    Channel.objects.create(tenant=budget.tenant, name="hook", url=receiver.url)
    Channel.objects.create(tenant=budget.tenant, name="mail", url="mailto:ops@example.com")
    passed(pg, budget, 80)
    raise_and_deliver()
    raise_and_deliver()
    assert [(got["budget"], got["threshold_percent"], got["spent_usd"]) for got in receiver.got] == [
        ("monthly", 80, "81.5")
    ]
    assert [message.to for message in mail.outbox] == [["ops@example.com"]]
    assert Delivery.objects.filter(state=Delivery.State.SENT).count() == 2


def test_looking_for_what_to_tell_is_no_change_of_configuration(pg: psycopg.Connection, budget: Budget) -> None:
    provider = Provider.objects.create(name="p", dialect="openai", base_url="http://127.0.0.1:1/v1")
    passed(pg, budget, 80)
    Overrun.objects.create(
        provider=provider, model="m", tier="flex", held_nanousd=1, cost_nanousd=2, trace_id=bytes(16), seen_at=NOW
    )
    before = config_version(pg)
    raise_and_deliver()
    raise_and_deliver()
    assert Alert.objects.count() == 2
    assert config_version(pg) == before
    Overrun.objects.update(tier="priority")
    assert config_version(pg) > before


def test_another_tenants_channel_hears_nothing(pg: psycopg.Connection, budget: Budget, receiver: Receiver) -> None:
    stranger = Tenant.objects.create(slug="stranger", name="Stranger")
    Channel.objects.create(tenant=stranger, name="hook", url=receiver.url)
    passed(pg, budget, 80)
    raise_and_deliver()
    assert receiver.got == []
    assert Alert.objects.get().tenant == budget.tenant


def test_each_threshold_and_each_value_has_its_own_alert(pg: psycopg.Connection, budget: Budget) -> None:
    for threshold, value in ((70, ""), (80, ""), (80, "user-1")):
        passed(pg, budget, threshold, value)
    raise_and_deliver()
    assert Alert.objects.count() == 3


def test_a_callers_long_or_broken_id_keeps_no_alert_from_anyone(pg: psycopg.Connection, budget: Budget) -> None:
    Channel.objects.create(tenant=budget.tenant, name="mail", url="mailto:ops@example.com")
    for threshold in (70, 80):
        passed(pg, budget, threshold, "u" * 300)
    passed(pg, budget, 70, "u" * 299 + "v")
    passed(pg, budget, 70, "two\nlines")

    raise_and_deliver()

    assert Alert.objects.count() == 4
    assert len(mail.outbox) == 4
    assert all("\n" not in message.subject for message in mail.outbox)


def test_a_threshold_is_told_once_in_a_window_also_after_it_was_resolved(
    pg: psycopg.Connection, budget: Budget, receiver: Receiver
) -> None:
    """PAINS 31: not on every request; and a person's "resolved" does not bring it back."""
    Channel.objects.create(tenant=budget.tenant, name="hook", url=receiver.url)
    passed(pg, budget, 80)
    raise_and_deliver()
    changing.resolve(Alert.objects.get(), "alice")
    pg.execute("UPDATE threshold_event SET alerted_at = NULL")

    raise_and_deliver()

    assert Alert.objects.get().state == Alert.State.RESOLVED
    assert [got["type"] for got in receiver.got] == ["alert.opened", "alert.resolved"]


def test_the_next_window_has_its_own_alert(pg: psycopg.Connection, budget: Budget) -> None:
    passed(pg, budget, 80)
    raise_and_deliver()
    pg.execute("UPDATE threshold_event SET alerted_at = NULL, window_start = '2026-12-01'")

    raise_and_deliver()

    assert Alert.objects.count() == 2


def test_it_leads_to_the_budgets_page(pg: psycopg.Connection, budget: Budget) -> None:
    passed(pg, budget, 100)
    raise_and_deliver()
    alert = Alert.objects.get()
    assert (alert.link, alert.severity) == (f"/budgets/?tenant=acme&budget={budget.pk}", "critical")
