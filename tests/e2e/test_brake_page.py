"""S2-02: a person follows the release link in a real browser and lets the session go on."""

from collections.abc import Iterator

import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, expect

from llmobs.brake.link import token
from llmobs.brake.models import BrakedSession
from llmobs.tenants.models import Membership
from tests.brake.made import episode
from tests.dashboards.cast import Cast, with_traffic, without_traffic

PASSWORD = "correct horse battery staple"

pytestmark = pytest.mark.browser


@pytest.fixture
def cast(browser: Browser, transactional_db: None, pg) -> Cast:  # type: ignore[no-untyped-def]
    made = with_traffic(without_traffic(pg), pg)
    made.alice.set_password(PASSWORD)
    made.alice.save()
    Membership.objects.filter(user=made.alice).update(role="admin")
    return made


@pytest.fixture
def paused(cast: Cast) -> BrakedSession:
    episode(cast.acme, 2, state="slowed", until=None)
    episode(cast.acme, 3, state="released", ended_at=cast.now, ended_by="olga")
    return episode(cast.acme, 1, session_id="nightly-report-2026-11-21")


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def page(browser: Browser, paused: BrakedSession, live_server, complaints: list[str]) -> Iterator[Page]:  # type: ignore[no-untyped-def]
    context = browser.new_context(base_url=live_server.url, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()


def test_the_link_leads_through_the_sign_in_to_the_button(
    page: Page, paused: BrakedSession, complaints: list[str]
) -> None:
    page.goto(f"/brake/{token(paused.pk, settings.SECRET_KEY)}/")
    page.fill("input[name=login]", "alice")
    page.fill("input[name=password]", PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#who-title")).to_have_text("nightly-report-2026-11-21")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Release: let its calls pass").click()
    expect(page.locator(".verdict").first).to_contain_text("released")
    page.goto("/brake/")
    expect(page.get_by_role("row")).to_have_count(4)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert complaints == []
