"""The alerts' page in a real browser: a button acknowledges, under our own policy, also on a phone."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from playwright.sync_api import Browser, expect

from llmobs.alerts.models import Alert, Channel, Delivery
from llmobs.alerts.raising import raise_alert
from llmobs.tenants.models import Tenant, User
from tests.tenants.cast import PASSWORD, make_cast

pytestmark = pytest.mark.browser


@pytest.fixture
def acme(browser: Browser, transactional_db: None, pg: psycopg.Connection) -> Tenant:
    cast = make_cast()
    Channel.objects.create(tenant=cast.acme, name="ops", url="https://hooks.example.com/x")
    now = datetime.now(UTC)
    told = (("critical", "Budget “monthly” of Acme passed 100 %"), ("warning", "$12.40 spent of user ann of Acme"))
    for number, (severity, title) in enumerate(told):
        body = {"kind": "cost", "figure": "12.40", "threshold": "10", "unit": "USD", "count": 231, "rule": "per user"}
        at = now - timedelta(hours=number)
        raise_alert(pg, cast.acme.pk, "cost", str(number), severity, title, body, at, link="/costs/?tenant=acme")
    Delivery.objects.filter(alert__dedupe="1").update(
        state="given_up", attempts=8, last_error="the webhook answered HTTP 500"
    )
    return cast.acme


@pytest.mark.parametrize("width", [1440, 390])
def test_an_alert_is_looked_at_and_acknowledged(browser: Browser, acme: Tenant, live_server, width: int) -> None:  # type: ignore[no-untyped-def]
    context = browser.new_context(base_url=live_server.url, viewport={"width": width, "height": 900})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    assert User.objects.filter(username="alice").exists()
    page.goto("/")
    page.fill("input[name=login]", "alice")
    page.fill("input[name=password]", PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")  # before that nobody is signed in
    page.goto("/alerts/")
    page.get_by_role("link", name="Budget “monthly”").first.click()
    expect(page.get_by_role("heading", name="Budget “monthly” of Acme passed 100 %")).to_be_visible()
    expect(page.get_by_role("link", name="See what fired it")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("button", name="Acknowledge").first.click()
    expect(page.get_by_text("acknowledged by alice").first).to_be_visible()
    assert Alert.objects.get(dedupe="0").state == "acknowledged"
    assert complaints == []
    context.close()
