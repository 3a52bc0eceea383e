"""/alerts/: open ones first, what fired them, who was told; strangers see nothing."""

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from llmobs.alerts.models import Alert, AlertRule, Channel, Delivery
from llmobs.alerts.raising import raise_alert, resolve_alert
from llmobs.tenants.models import Tenant
from llmobs.tenants.plain_connection import plain_connection
from tests.alerts.far_end import Receiver, receiving
from tests.tenants.cast import Cast, make_budget, make_cast

NOW = datetime.now(UTC)


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


def page(who: Any, address: str = "/alerts/") -> str:
    client = Client()
    client.force_login(who)
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def alerted(tenant: Tenant | None, key: str, severity: str = "warning", title: str = "", **body: Any) -> int:
    made = raise_alert(
        plain_connection(), tenant.pk if tenant else None, "cost", key, severity, title or f"Alert {key}", body, NOW,
        link="/costs/?tenant=acme", is_once=False,
    )  # fmt: skip
    assert made is not None
    return made


def test_the_empty_page_says_how_to_add_a_channel(cast: Cast) -> None:
    told = page(cast.alice)
    assert "there is no channel" in told
    assert "alert_channels:" in told
    assert "slug: acme" in told


def test_open_ones_come_first_the_worst_before_others(cast: Cast) -> None:
    alerted(cast.acme, "mild", "info")
    alerted(cast.acme, "worst", "critical")
    alerted(cast.acme, "over")
    resolve_alert(plain_connection(), cast.acme.pk, "cost", "over", NOW)
    told = page(cast.alice)
    assert told.index("Alert worst") < told.index("Alert mild") < told.index("Alert over")


def test_very_many_of_one_rule_are_folded(cast: Cast) -> None:
    rule = AlertRule.objects.create(tenant=cast.acme, name="per user", kind="cost", group_by="user")
    for number in range(8):
        alerted(cast.acme, f"user-{number}")
    alerted(cast.acme, "other")
    Alert.objects.filter(dedupe__startswith="user-").update(rule=rule)
    told = page(cast.alice)
    assert "5 more of this rule" in told
    assert told.count("Alert user-") == 3 * told.count("Alert other")
    (address,) = set(re.findall(r'href="([^"]*rule=[^"]*)"', told))
    unfolded = page(cast.alice, html.unescape(address))
    assert "more of this rule" not in unfolded
    assert all(f"Alert user-{number}" in unfolded for number in range(8))
    assert "Alert other" not in unfolded


def test_the_selected_one_shows_its_figure_its_link_and_its_deliveries(cast: Cast) -> None:
    Channel.objects.create(tenant=cast.acme, name="ops", url="https://hooks.example.com/s3cret")
    made = alerted(cast.acme, "dear", figure="12.40", threshold="10", models=["a", "b"])
    Delivery.objects.update(state="given_up", attempts=8, last_error="the webhook answered HTTP 500")
    told = page(cast.alice, f"/alerts/?alert={made}")
    for word in ("12.40", "a, b", "/costs/?tenant=acme", "https://hooks.example.com/…", "HTTP 500", "Try again"):
        assert word in told
    assert "s3cret" not in told


def test_the_rail_counts_what_nobody_has_acknowledged_on_every_page(cast: Cast) -> None:
    alerted(cast.acme, "1")
    alerted(cast.acme, "2")
    Alert.objects.filter(dedupe="2").update(state="acknowledged")
    assert "1 open" in page(cast.alice, "/budgets/")


def test_a_stranger_sees_nothing_of_it(cast: Cast) -> None:
    made = alerted(cast.acme, "dear")
    Channel.objects.create(tenant=cast.acme, name="their-ops", url="mailto:ops@example.com")
    for address in ("/alerts/", f"/alerts/?alert={made}"):
        told = page(cast.charlie, address)
        assert "Alert dear" not in told
        assert "their-ops" not in told


def test_alerts_of_no_tenant_are_the_operators(cast: Cast) -> None:
    alerted(None, "outage", "critical")
    assert "Alert outage" in page(cast.olga)
    assert "Alert outage" not in page(cast.alice)


def test_viewers_get_no_buttons(cast: Cast) -> None:
    alerted(cast.acme, "dear")
    assert "Acknowledge" in page(cast.alice)
    assert "Acknowledge" not in page(cast.bob)


def test_the_budgets_page_leads_to_its_alerts(cast: Cast) -> None:
    budget = make_budget(cast.acme)
    alerted(cast.acme, "mine", budget_id=budget.pk)
    alerted(cast.acme, "other", budget_id=budget.pk + 1)
    assert f"/alerts/?last=24h&amp;budget={budget.pk}" in page(cast.alice, "/budgets/")
    told = page(cast.alice, f"/alerts/?budget={budget.pk}")
    assert "Alert mine" in told
    assert "Alert other" not in told


def test_filters_stay_and_nonsense_in_the_address_does_no_harm(cast: Cast) -> None:
    alerted(cast.acme, "dear")
    assert "Alert dear" in page(cast.alice, "/alerts/?kind=cost")
    assert "Alert dear" not in page(cast.alice, "/alerts/?kind=error_rate")
    for address in (
        "/alerts/?alert=x",
        "/alerts/?alert=99999999999999999999",
        "/alerts/?before=%00",
        "/alerts/?kind=%00",
    ):
        page(cast.alice, address)


def test_a_test_of_a_channel_is_told_on_the_page_once(cast: Cast) -> None:
    with receiving() as far_end:
        channel = Channel.objects.create(tenant=cast.acme, name="ops", url=_address(far_end))
        client = Client()
        client.force_login(cast.alice)
        client.post(f"/alerts/channel/{channel.pk}/test/")
        assert "“ops” took the test." in client.get("/alerts/").content.decode()
        assert "took the test" not in client.get("/alerts/").content.decode()


def test_the_number_of_queries_does_not_grow(cast: Cast, django_assert_max_num_queries: Any) -> None:
    for number in range(30):
        at = NOW - timedelta(minutes=number)
        raise_alert(plain_connection(), cast.acme.pk, "cost", str(number), "info", "t", {}, at)
    client = Client()
    client.force_login(cast.alice)
    with django_assert_max_num_queries(16):
        client.get("/alerts/")


def _address(far_end: Receiver) -> str:
    return far_end.url
