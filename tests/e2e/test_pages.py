"""The pages in a real browser: sign-in, charts under our own policy, keys, the phone's width."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.dashboards.cast import Cast, with_traffic, without_traffic

PASSWORD = "correct horse battery staple"

pytestmark = pytest.mark.browser


@pytest.fixture
def cast(browser: Browser, transactional_db: None, pg) -> Cast:  # type: ignore[no-untyped-def]
    made = with_traffic(without_traffic(pg), pg)
    made.alice.set_password(PASSWORD)
    made.alice.save()
    return made


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complains of: script errors, and what the policy forbade."""
    return []


@pytest.fixture
def page(browser: Browser, cast: Cast, live_server, complaints: list[str]) -> Iterator[Page]:  # type: ignore[no-untyped-def]
    context = browser.new_context(base_url=live_server.url, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/")
    page.fill("input[name=login]", "alice")
    page.fill("input[name=password]", PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    page.wait_for_load_state()  # keys are heard once the page's scripts run
    yield page
    context.close()


def test_the_overview_draws_its_charts_under_the_sites_own_policy(page: Page, complaints: list[str]) -> None:
    expect(page.locator("[data-figure] .main-svg").first).to_be_visible()
    expect(page.locator("[data-figure]:has(.main-svg)")).to_have_count(3)
    expect(page.locator(".tops .head").first).to_contain_text("per hour")
    page.get_by_text("As a table").first.click()
    expect(page.get_by_role("columnheader", name="cost per hour")).to_be_visible()
    assert complaints == []


def test_keys_lead_from_page_to_page(page: Page, complaints: list[str]) -> None:
    for key, heading in (
        ("t", "Traces"),
        ("c", "Costs"),
        ("b", "Budgets"),
        ("h", "Providers"),
        ("p", "Prompts"),
        ("o", "Overview"),
    ):
        page.keyboard.press("g")
        page.keyboard.press(key)
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
        page.wait_for_load_state()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert complaints == []


def test_a_letter_alone_leads_nowhere(page: Page) -> None:
    """Not on a page that has just opened either."""
    page.goto("/costs/")
    page.keyboard.press("t")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text("Costs")


def test_costs_open_a_second_level_and_another_dimension(page: Page, complaints: list[str]) -> None:
    page.goto("/costs/?last=7d")
    expect(page.locator("[data-figure] .main-svg").first).to_be_visible()
    page.get_by_label("code-review: second level").click()
    expect(page.locator("tr.child")).to_have_count(1)
    page.get_by_role("link", name="Model", exact=True).click()
    expect(page.get_by_role("columnheader", name="Model")).to_be_visible()
    assert complaints == []


def test_each_point_of_a_cost_chart_leads_to_its_explanation(page: Page, complaints: list[str]) -> None:
    """By a click, and by keys through the table under the chart."""
    page.goto("/costs/?last=7d")
    expect(page.locator("[data-figure] .main-svg").first).to_be_visible()
    summary = page.locator(".as-table summary").first
    summary.focus()
    page.keyboard.press("Enter")
    way = page.locator(".as-table tbody tr a[href*='model=']").filter(has_text=re.compile("[1-9]")).first
    address, words = str(way.get_attribute("href")), way.inner_text()
    way.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Why this figure")
    expect(page.locator("main")).to_contain_text(words)
    page.go_back()
    page.wait_for_load_state()  # nothing moves any more
    expect(page.locator("[data-figure] .main-svg").first).to_be_visible()
    drawn = page.locator("[data-figure] .barlayer .trace path").evaluate_all(
        "paths => paths.map((p) => p.getBoundingClientRect()).filter((b) => b.height > 3)"
        ".map((b) => [b.x + b.width / 2, b.y + b.height / 2])"
    )
    page.mouse.move(*drawn[0])
    page.mouse.down()
    page.mouse.up()
    expect(page.get_by_role("heading", level=1)).to_have_text("Why this figure")
    assert "model=" in page.url
    assert {name for name in ("from=", "to=") if name in page.url} == {"from=", "to="}
    assert "from=" in address
    assert complaints == []


def test_a_trace_is_read_by_keyboard(page: Page, cast: Cast, complaints: list[str]) -> None:
    page.goto(f"/traces/{cast.trace_id}/")
    selected = page.locator('#tree tr[aria-selected="true"]')
    expect(selected).to_contain_text("claude-sonnet-4-5")  # the dearest, which was cut off
    page.keyboard.press("e")
    expect(page.locator("#panel")).to_contain_text("Refused by us: model not allowed")
    page.keyboard.press("e")
    expect(page.locator("#panel")).to_contain_text("overloaded error")
    page.keyboard.press("$")
    expect(selected).to_contain_text("claude-sonnet-4-5")
    page.keyboard.press("j")
    expect(selected).to_contain_text("gpt-4o")
    expect(page.locator("#panel")).to_contain_text("cache read")
    expect(page).to_have_url(re.compile("span="))
    page.get_by_role("tab", name="Messages").click()
    expect(page.locator("#panel")).to_contain_text("Where is my order")
    page.locator("#tree tbody tr").first.locator(".tw").click()
    expect(page.locator("#tree tbody tr:visible")).to_have_count(1)
    assert complaints == []


def test_budgets_show_the_selected_one(page: Page, complaints: list[str]) -> None:
    page.goto("/budgets/")
    page.get_by_role("link", name="monthly").click()
    expect(page.get_by_role("heading", name="monthly · lifetime")).to_be_visible()
    expect(page.locator("[data-figure] .main-svg").first).to_be_visible()
    assert complaints == []


# Names in var(…) without another value beside it that no rule or element sets: a style sheet cut short loses them.
MISSING_TOKENS = """() => {
  const rules = [...document.styleSheets].flatMap(sheet => [...sheet.cssRules]).map(rule => rule.cssText).join("\\n");
  const set = new Set([...rules.matchAll(/(--[\\w-]+)\\s*:/g)].map(found => found[1]));
  for (const each of document.querySelectorAll("[style]"))
    for (const name of each.style) set.add(name);
  const used = new Set([...rules.matchAll(/var\\((--[\\w-]+)\\)/g)].map(found => found[1]));
  return [...used].filter(name => !set.has(name));
}"""


def test_pages_are_drawn_with_their_tokens(page: Page) -> None:
    for path in ("/", "/traces/", "/costs/", "/budgets/", "/alerts/", "/usage/"):
        page.goto(path)
        assert page.evaluate(MISSING_TOKENS) == [], path
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(246, 246, 243)", path
        assert page.evaluate("getComputedStyle(document.querySelector('h1')).fontSize") == "15px", path


def test_the_theme_turns_dark_and_stays(page: Page) -> None:
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.goto("/costs/")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 18, 21)"


def test_a_phone_scrolls_no_page_sideways(page: Page, cast: Cast) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for path in ("/", "/traces/", f"/traces/{cast.trace_id}/", "/costs/", "/budgets/", "/providers/", "/prompts/"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    page.goto("/")
    third = page.locator(".tops section").nth(2).bounding_box()
    assert third is not None
    assert third["y"] + third["height"] <= 844
    page.get_by_role("button", name="Pages").click()
    expect(page.get_by_role("link", name="Budgets").first).to_be_visible()
