"""Pages of re-pricing, unpriced usage and explanations: figures lead to their bills, operators press, others do not."""

import re
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import redis
from django.test import Client

from dashboards.views.repricing import _row
from llmobs.budgets.models import Budget
from llmobs.ingest import tasks
from llmobs.ingest.models import Repricing
from llmobs.ops.verify import verify
from tests.dashboards.cast import Cast
from tests.ingest.making import call, commit
from tests.ingest.repricings import START

Connection = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def _no_broker(valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.api.repricings.wake", lambda: None)


def text(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, (address, answer.status_code)
    return str(answer.content.decode())


def test_a_budgets_window_begins_by_the_tenants_clock() -> None:
    told = {
        "tenant": "acme", "window_start": "2026-10-31T23:00:00+00:00", "limit_usd": "5", "spent_usd": "1",
        "difference_usd": "1", "passes_limit": False,
    }  # fmt: skip
    words = ["monthly", "", "acme", str(told["window_start"])]
    assert _row(words, told, {"acme": "Europe/Berlin"}).words[-1] == "2026-11-01 00:00"
    ever = {**told, "window_start": "1970-01-01T00:00:00+00:00"}
    assert _row(words, ever, {"acme": "America/New_York"}).words[-1] == "lifetime"


def test_an_unpriced_model_gets_a_price_by_a_form_and_its_past_too(empty_cast: Cast, pg: Connection) -> None:
    client = empty_cast.as_(empty_cast.operator)
    assert "Every call has a price" in text(client, "/unpriced/")
    commit(pg, call(empty_cast.acme.pk, request_model="brand-new", cost_nanousd=None, price_version=""))
    shown = text(client, "/unpriced/")
    assert "brand-new" in shown
    assert "Used by user-1" in shown
    form = {"of": "acme", "provider": "openai", "model": "brand-new", "since": f"{START - timedelta(days=1):%Y-%m-%d}"}
    answer = client.post("/repricing/ask/", {**form, "input_usd_per_mtok": "2", "output_usd_per_mtok": "$8"})
    made = Repricing.objects.get()
    assert answer["location"] == f"/repricing/?id={made.pk}"
    shown = text(client, answer["location"])
    assert "Apply to 1 bill" in shown
    assert "$0.00600" in shown
    client.post(f"/repricing/{made.pk}/apply/")
    tasks.reprice()
    assert "Undo" in text(client, f"/repricing/?id={made.pk}")
    assert "Every call has a price" in text(client, "/unpriced/")
    client.post(f"/repricing/{made.pk}/undo/")
    tasks.reprice()
    assert Repricing.objects.get().state == "undone"
    assert verify(pg).differences == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"since": ""}, "From when on?"),
        ({"since": "2026-13-01"}, "is no date"),
        ({"since": "2026-01-01", "input_usd_per_mtok": "much"}, "is no amount of USD"),
        ({"since": "2026-01-01", "until": "2025-01-01"}, "after the time"),
        ({"since": "2026-01-01", "of": "nobody"}, "There is no tenant"),
    ],
)
def test_a_form_that_says_nonsense_is_told_so(empty_cast: Cast, given: dict[str, str], said: str) -> None:
    client = empty_cast.as_(empty_cast.operator)
    answer = client.post("/repricing/ask/", {"provider": "openai", "model": "x", **given})
    assert said in text(client, answer["location"])
    assert not Repricing.objects.exists()


def test_members_read_and_press_nothing(empty_cast: Cast, pg: Connection) -> None:
    operator = empty_cast.as_(empty_cast.operator)
    operator.post("/repricing/ask/", {"of": "acme", "since": "2026-01-01"})
    operator.post("/repricing/ask/", {"of": "globex", "since": "2026-01-01"})
    own, theirs = Repricing.objects.order_by("pk")
    alice = empty_cast.as_(empty_cast.alice)
    shown = text(alice, "/repricing/")
    assert f"Re-pricing {own.pk}" in shown
    assert f"?id={theirs.pk}" not in shown
    for address in ("/repricing/ask/", f"/repricing/{own.pk}/apply/", f"/repricing/{own.pk}/undo/"):
        assert alice.post(address).status_code == 404
        assert Client().post(address).status_code == 302
    assert f"Re-pricing {theirs.pk}" not in text(alice, f"/repricing/?id={theirs.pk}")


def whys(shown: str) -> list[str]:
    """Addresses of explanations that a page links."""
    return [link.replace("&amp;", "&") for link in re.findall(r'href="(/explain/[^"]*)"', shown)]


@pytest.mark.parametrize(
    "page", ["/costs/", "/costs/?by=model", "/costs/?by=user", "/budgets/", "/costs/?model=gpt-4o"]
)
def test_every_figure_of_a_page_leads_to_what_it_is_made_of(cast: Cast, page: str) -> None:
    client = cast.as_(cast.alice)
    found = whys(text(client, page))
    assert found
    for address in found:
        words = "80 % range" if "forecast=" in address else "it is the sum of its bills"
        assert words in text(client, address), address


def test_a_traces_and_a_spans_cost_are_explained(cast: Cast) -> None:
    client = cast.as_(cast.alice)
    shown = text(client, f"/traces/{cast.trace_id}/")
    total, *_ = whys(shown)
    told = text(client, total)
    assert "it is the sum of its bills" in told
    explained = []
    for span in dict.fromkeys(re.findall(r"span=([0-9a-f]{16})", told)):
        panel = text(client, f"/traces/{cast.trace_id}/?span={span}&tab=cost")
        of_span = text(client, next(address for address in whys(panel) if span in address))
        assert "it is the sum of its bills" in of_span
        explained.append("per million" in of_span)
    assert any(explained)  # not all: one has no price


def test_what_cannot_be_explained_says_so(cast: Cast) -> None:
    client = cast.as_(cast.alice)
    assert "bills do not know status" in text(client, "/explain/?status=failed").lower()
    assert "This cannot be explained" in text(client, "/explain/?after=x")
    for address in ("?trace_id=x", f"?trace_id={cast.trace_id}&span_id=x", "?budget=x"):
        assert "This cannot be explained" in text(client, f"/explain/{address}")
    for address in (f"?trace_id={'0' * 32}", f"?trace_id={cast.trace_id}&span_id={'0' * 16}", "?budget=999999"):
        assert client.get(f"/explain/{address}").status_code == 404


def test_strangers_see_no_explanation(cast: Cast) -> None:
    stranger = cast.as_(cast.charlie)
    budget = Budget.objects.filter(tenant=cast.acme).first()
    assert budget is not None
    for address in (f"?trace_id={cast.trace_id}", f"?budget={budget.pk}", "?tenant=acme"):
        assert stranger.get(f"/explain/{address}").status_code == 404
    assert "No bill is in it" in text(stranger, "/explain/")
    assert Client().get("/explain/").status_code == 302
