"""The budgets page in a real browser: a person lets calls go on with one click, also on a phone."""

import pytest
from playwright.sync_api import Page, expect

from llmobs.budgets.models import Budget, Raise
from llmobs.tenants.models import Membership
from tests.dashboards.cast import Cast
from tests.e2e.test_pages import cast, complaints, page

__all__ = ["cast", "complaints", "page"]

pytestmark = pytest.mark.browser


def test_one_click_releases_a_budget_and_the_page_says_until_when(
    page: Page, cast: Cast, complaints: list[str]
) -> None:
    Membership.objects.filter(user=cast.alice).update(role="admin")
    tight = Budget.objects.get(name="tight")
    Budget.objects.filter(pk=tight.pk).update(window="month", parent=Budget.objects.get(name="monthly"))
    page.goto(f"/budgets/?budget={tight.pk}")
    expect(page.get_by_text("└")).to_be_visible()
    page.get_by_role("button", name="Release until the window ends").click()
    expect(page.get_by_text("Released", exact=True)).to_be_visible()
    assert Raise.objects.get().amount is None
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert complaints == []
