"""The reconciliation page on the planted month in a real browser: our own policy holds, no phone scrolls sideways."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from llmobs.reconcile.matching import reconcile_month
from tests.reconcile.made import AT, planted_month
from tests.reconcile.planted import MONTH

PASSWORD = "correct horse battery staple"
PATH = "/reconcile/?month=2026-10"

pytestmark = pytest.mark.browser


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def page(browser: Browser, transactional_db: None, pg, live_server, complaints: list[str]) -> Iterator[Page]:  # type: ignore[no-untyped-def]
    from llmobs.tenants.models import User

    User.objects.create_superuser("olga", "olga@example.com", PASSWORD)
    _, accounts = planted_month(pg, "json")
    with pg.transaction():
        for account_id in accounts.values():
            reconcile_month(pg, account_id, MONTH, AT)
    context = browser.new_context(base_url=live_server.url, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(PATH)
    page.fill("input[name=login]", "olga")
    page.fill("input[name=password]", PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Reconcile")
    yield page
    context.close()


def test_a_difference_leads_to_its_days_and_they_to_their_calls(page: Page, complaints: list[str]) -> None:
    page.get_by_role("link", name="Price differs").click()
    expect(page.get_by_role("heading", name="Price differs, by day, model and class")).to_be_visible()
    page.get_by_role("link", name="claude-sonnet-4-5").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Why this figure")
    expect(page.locator("main")).to_contain_text("claude-sonnet-4-5")
    assert complaints == []


def test_a_phone_scrolls_no_page_sideways(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for path in (PATH, f"{PATH}&account=anthropic&name=price"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
