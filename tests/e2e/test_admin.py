"""An operator signs in, makes a tenant, a key and a budget in the admin, in a real browser."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from llmobs.budgets.models import Budget
from llmobs.tenants.keys import secret_hash
from llmobs.tenants.models import AuditEntry, Key, User

PASSWORD = "correct horse battery staple"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(30_000)
    yield page
    context.close()


@pytest.fixture
def operator(browser: Browser, transactional_db: None) -> User:
    return User.objects.create_user("olga", password=PASSWORD, is_staff=True)


def sign_in(page: Page, url: str) -> None:
    page.goto(f"{url}/admin/")
    expect(page).to_have_url(re.compile(r"/accounts/login/\?next=%2Fadmin%2F"))
    page.fill("input[name=login]", "olga")
    page.fill("input[name=password]", PASSWORD)
    page.get_by_role("button", name=re.compile("sign in", re.IGNORECASE)).click()
    expect(page).to_have_url(re.compile(r"/admin/$"))


def save(page: Page) -> None:
    page.click("[name=_save]")


@pytest.mark.browser
def test_a_tenant_a_key_and_a_budget_are_made_in_the_admin(operator: User, live_server, page: Page) -> None:  # type: ignore[no-untyped-def]
    refused: list[str] = []
    page.on("console", lambda said: refused.append(said.text) if "Content Security Policy" in said.text else None)
    sign_in(page, live_server.url)

    page.goto(f"{live_server.url}/admin/tenants/tenant/add/")
    page.locator("input[name=name]").press_sequentially("Acme")
    expect(page.locator("input[name=slug]")).to_have_value("acme")
    save(page)
    expect(page.locator("#result_list")).to_contain_text("acme")

    page.goto(f"{live_server.url}/admin/tenants/key/add/")
    page.select_option("select[name=tenant]", label="acme")
    page.fill("input[name=name]", "prod")
    save(page)
    secret = page.locator("#key-secret").inner_text()
    page.goto(f"{live_server.url}/admin/tenants/key/")
    expect(page.locator("#result_list")).to_contain_text(secret[:14])
    assert secret not in page.content()

    page.goto(f"{live_server.url}/admin/budgets/budget/add/")
    page.select_option("select[name=tenant]", label="acme")
    page.fill("input[name=name]", "monthly")
    page.fill("input[name=limit_usd]", "250")
    save(page)
    expect(page.locator("#result_list")).to_contain_text("$250.00 left of $250.00")

    assert Key.objects.get().secret_hash == secret_hash(secret)
    assert Budget.objects.get().limit_nanousd == 250_000_000_000
    assert sorted(AuditEntry.objects.values_list("actor", "kind")) == [
        ("olga", "budget"), ("olga", "key"), ("olga", "tenant"),
    ]  # fmt: skip
    assert refused == []


@pytest.mark.browser
def test_the_api_docs_are_drawn_under_the_sites_own_policy(operator: User, live_server, page: Page) -> None:  # type: ignore[no-untyped-def]
    refused: list[str] = []
    page.on("console", lambda said: refused.append(said.text) if "Content Security Policy" in said.text else None)

    page.goto(f"{live_server.url}/api/docs/")

    expect(page.locator("#swagger-ui")).to_contain_text("/api/v1/budgets/")
    assert refused == []
