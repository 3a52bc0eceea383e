"""Every figure on a page leads to its explanation, and each explanation ties: pages are walked, all links followed."""

import re
from html import unescape
from typing import Any

import psycopg
import pytest

from dashboards.queries import timed
from dashboards.queries.figure import METRICS
from llmobs.budgets.models import Budget
from llmobs.budgets.spend import count_new_budgets
from llmobs.core.clock import ns_from_utc
from tests.dashboards.cast import Cast

PAGES = (
    "/?last=24h", "/?last=1h&feature=support-agent", "/costs/?last=7d", "/costs/", "/costs/?last=7d&by=model",
    "/costs/?last=7d&by=user", "/costs/?last=7d&by=key", "/costs/?last=7d&open=support-agent", "/usage/?last=7d",
    "/usage/?last=7d&by=user&by=day", "/usage/?last=24h&by=model&by=hour", "/budgets/", "/traces/?last=24h",
    "/providers/?last=24h", "/prices/", "/prompts/", "/usage/statement/",
)  # fmt: skip
MOST_OF_KIND = 2  # addresses of each kind that are followed of a page
WHY = re.compile(r'href="(/explain/\?[^"]+)"')


def addresses(client: Any, page: str) -> list[str]:
    """Where a page's figures lead, some of each kind: by which parameters they ask."""
    response = client.get(page)
    assert response.status_code == 200, page
    kinds: dict[tuple[str, ...], list[str]] = {}
    for found in dict.fromkeys(WHY.findall(response.content.decode())):
        address = unescape(found)
        kind = tuple(sorted(re.findall(r"[?&](\w+)=", address))), *re.findall(r"metric=(\w+)", address)
        kinds.setdefault(kind, []).append(address)
    return [address for of_kind in kinds.values() for address in of_kind[:MOST_OF_KIND]]


def ties(client: Any, address: str) -> None:
    context = client.get(address).context
    if "told" in context:
        assert context["told"].is_equal, (address, context["told"])
    elif "timed" in context:
        assert context["timed"].is_equal, (address, context["timed"])
    else:
        found = context["foretold"]
        assert found.shown == found.recomputed, address


def test_each_figure_leads_to_an_explanation_that_ties(cast: Cast) -> None:
    alice = cast.as_(cast.alice)
    followed: set[str] = set()
    for page in PAGES:
        found = addresses(alice, page)
        assert found or page == "/prompts/", page
        for address in found:
            if address not in followed:
                ties(alice, address)
        followed.update(found)


def test_no_money_in_a_table_leads_nowhere(cast: Cast) -> None:
    """But for limits, what is left of them and what running calls hold: these have no bills."""
    alice = cast.as_(cast.alice)
    for page in ("/costs/?last=7d", "/usage/?last=7d", "/providers/?last=24h", "/budgets/", "/prices/"):
        for row in re.findall(r"<tr.*?</tr>", alice.get(page).content.decode(), re.DOTALL):
            is_other = any(word in row for word in ("Limit", "limit<", "Left", "Held"))
            assert "<data " not in row or "/explain/?" in row or is_other, row


def test_tokens_and_estimates_tie_to_their_bills(cast: Cast) -> None:
    alice = cast.as_(cast.alice)
    for metric in METRICS:
        for by in ({}, {"user": "ana"}, {"none": "feature"}):
            if metric == "estimated_usd" and "user" in by:
                continue
            told = alice.get("/explain/", {"last": "7d", "metric": metric, **by}).context["told"]
            assert told.is_equal, (metric, by)
            assert told.is_usd == metric.endswith("_usd")


def test_the_others_are_all_but_those_that_are_named(cast: Cast) -> None:
    alice = cast.as_(cast.alice)
    for by in ("model", "feature", "user", "key"):
        page = alice.get("/costs/", {"last": "7d", "by": by}).context
        first = page["rows"][0]
        told = alice.get("/explain/", {"last": "7d", f"not_{by}": f'["{first.sums.key[0]}"]'}).context["told"]
        assert told.figure.shown == page["spent"].cost_nanousd - first.sums.cost_nanousd
        assert told.is_equal


def test_a_percentile_that_the_sketch_has_wrong_is_seen(
    cast: Cast, pg: "psycopg.Connection[Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = cast.as_(cast.alice)
    assert alice.get("/explain/", {"last": "7d", "metric": "p95"}).context["timed"].is_equal
    pg.execute("UPDATE span SET duration_ns = duration_ns * 3 WHERE is_counted")
    timed_now = alice.get("/explain/", {"last": "7d", "metric": "p95"}).context["timed"]
    assert not timed_now.is_equal
    assert timed_now.slowest[0].ns >= timed_now.slowest[-1].ns
    monkeypatch.setattr(timed, "MOST_TIMED", 1)
    response = alice.get("/explain/", {"last": "7d", "metric": "p95"})
    assert response.context["timed"].exact_ms is None
    assert "take a shorter window" in response.content.decode()


def test_a_forecast_is_told_by_its_steps(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    alice = cast.as_(cast.alice)
    rolling = Budget.objects.create(tenant=cast.acme, name="rolling", window="30d", limit_nanousd=3000 * 10**9)
    with pg.transaction():
        count_new_budgets(pg, ns_from_utc(cast.now))
    month, of_budget = {"forecast": "month"}, {"budget": str(rolling.pk), "forecast": "1"}
    for asked in (month, of_budget):
        response = alice.get("/explain/", asked)
        found, steps = response.context["foretold"], response.context["steps"]
        assert found.forecast is not None
        assert steps[0].startswith("spent until now: $")
        assert steps[-1].endswith(f"= {steps[-1].rpartition('= ')[2]}")
        assert found.days[0][0] > found.days[-1][0]
        assert sum(amount for *_, amount in found.days) == sum(slot.amount for slot in found.forecast.how.series)


def test_a_stranger_learns_no_forecast_and_no_running_sum(cast: Cast) -> None:
    budget = str(Budget.objects.get(name="monthly").pk)
    charlie = cast.as_(cast.charlie)
    for more in ("", "&forecast=1", "&since=2026-01-01&until=2027-01-01"):
        for path in ("/explain/", "/api/v1/explain/"):
            assert charlie.get(f"{path}?budget={budget}{more}").status_code == 404
