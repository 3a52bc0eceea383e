"""Explanations in a real browser: points of a running sum and of its forecast lead to them, also on a phone."""

from typing import Any

import psycopg
import pytest
from playwright.sync_api import Page, expect

from llmobs.budgets.models import Budget
from llmobs.budgets.spend import count_new_budgets
from llmobs.core.clock import ns_from_utc
from tests.dashboards.cast import Cast
from tests.e2e.test_pages import cast, complaints, page

__all__ = ["cast", "complaints", "page"]

pytestmark = pytest.mark.browser

# Where a click on a point of a line of the chart leads, as Plotly tells of it.
CLICK = """([line, last]) => {
  const box = document.querySelector("[data-figure=figure-running-sum]");
  const number = box.data.findIndex((trace) => trace.name === line), trace = box.data[number];
  const x = trace.x[last ? trace.x.length - 1 : Math.floor(trace.x.length / 2)];
  box.emit("plotly_click", { points: [{ x, curveNumber: number, data: trace }] });
}"""


def test_points_of_a_running_sum_and_of_its_forecast_lead_to_explanations(
    page: Page, cast: Cast, pg: psycopg.Connection[Any], complaints: list[str]
) -> None:
    rolling = Budget.objects.create(tenant=cast.acme, name="rolling", window="30d", limit_nanousd=3000 * 10**9)
    with pg.transaction():
        count_new_budgets(pg, ns_from_utc(cast.now))
    page.goto(f"/budgets/?budget={rolling.pk}")
    expect(page.locator("[data-figure=figure-running-sum] .main-svg").first).to_be_visible()
    page.evaluate(CLICK, ["forecast", True])
    expect(page.get_by_text("Forecast of budget rolling")).to_be_visible()
    expect(page.get_by_role("heading", name="What it was computed from")).to_be_visible()
    page.go_back()
    expect(page.locator("[data-figure=figure-running-sum] .main-svg").first).to_be_visible()
    page.evaluate(CLICK, ["spent", False])
    expect(page.get_by_text("Spent in budget rolling,")).to_be_visible()
    expect(page.get_by_text("it is the sum of its bills")).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    for address in (f"/explain/?budget={rolling.pk}&forecast=1", "/explain/?last=24h&metric=p95", "/explain/?last=24h"):
        page.goto(address)
        expect(page.get_by_role("heading", name="How it comes about")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
    assert complaints == []
