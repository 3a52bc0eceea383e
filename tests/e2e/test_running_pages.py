"""Pages of a platform as `up` runs it: the web asks as its own role, and each page shows what is there."""

import json

import httpx2
import psycopg
import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.conftest import Platform, wait_until

# By page what it shows of one call of ann's, and where there is nothing yet, that it says so.
SHOWN = {
    "/": ("support", "ever", "per-user", "$0.0000390"),
    "/traces/": ("gpt-4o-mini", "ann"),
    "/costs/": ("gpt-4o-mini", "$0.0000390"),
    "/costs/?by=user": ("ann", "$0.0000390"),
    "/usage/": ("gpt-4o-mini", "support", "$0.0000390"),
    "/budgets/": ("ever", "per-user", "within limit"),
    "/prices/": ("gpt-4o-mini", "$0.0000390"),
    "/providers/": ("openai", "healthy"),
    "/conformance/": ("No library has reported",),
    "/unpriced/": ("Every call has a price",),
    "/repricing/": ("No price was changed",),
    "/brake/": ("Nothing ran away",),
    "/reconcile/": ("No bill to compare with",),
    "/alerts/": ("Nothing is open",),
    "/prompts/": ("No prompts yet",),
}

pytestmark = pytest.mark.browser


def test_each_page_of_a_running_platform_shows_what_is_there(platform: Platform, browser: Browser) -> None:
    _call(platform)
    with psycopg.connect(platform.database_url, autocommit=True) as conn:
        wait_until(lambda: conn.execute("SELECT count(*) FROM bill").fetchone() == (1,), 60, "the call is billed")
    complaints: list[str] = []
    context = browser.new_context(base_url=f"http://127.0.0.1:{platform.web_port}")
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto("/")
    page.fill("input[name=login]", "admin")
    page.fill("input[name=password]", json.loads((platform.data / "secrets.json").read_text())["admin_password"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    for address, shown in SHOWN.items():
        for tenant in ("acme", "*"):
            response = page.goto(f"{address}{'&' if '?' in address else '?'}tenant={tenant}")
            assert response is not None
            assert response.status == 200, address
            for words in shown:
                expect(page.get_by_role("main")).to_contain_text(words)
    assert complaints == []
    context.close()


def _call(platform: Platform) -> None:
    answer = httpx2.post(
        f"{platform.gateway_url}/v1/chat/completions",
        headers={"Authorization": f"Bearer {platform.key}", "x-llmobs-user": "ann"},
        json={"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Where is my parcel?"}]},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
