"""The pages over HTTP: what they say, who may see them, how large they are."""

import re
import time
from typing import Any

import psycopg
import pytest
from django.test import Client

from dashboards import numbers
from dashboards.templatetags.shown import cells
from llmobs.rollups.compact import compact_all
from tests.dashboards.cast import Cast
from tests.ingest.making import call, commit

PAGES = ("/", "/traces/", "/costs/", "/usage/", "/usage/statement/", "/budgets/", "/providers/", "/prompts/")
MOST_HTML_BYTES = 100_000


@pytest.mark.parametrize("path", [*PAGES, f"/traces/{'0' * 32}/"])
def test_who_is_not_signed_in_is_sent_to_the_sign_in(path: str, transactional_db: None) -> None:
    response = Client().get(path)
    assert response.status_code == 302
    assert response["Location"].startswith("/accounts/login/")


def test_the_sign_in_is_ours(transactional_db: None) -> None:
    page = Client().get("/accounts/login/").content.decode()
    assert "llmobs.css" in page
    assert 'name="password"' in page


@pytest.mark.parametrize("path", PAGES)
def test_each_page_answers_within_its_size(path: str, cast: Cast) -> None:
    response = cast.as_(cast.alice).get(path)
    assert response.status_code == 200
    assert len(response.content) < MOST_HTML_BYTES
    assert response.content.count(b"<h1") == 1


@pytest.mark.parametrize("path", PAGES)
def test_a_stranger_sees_nothing_of_another_tenant(path: str, cast: Cast) -> None:
    page = cast.as_(cast.charlie).get(path).content.decode()
    for word in ("Acme", "code-review", "u_48213", "monthly", cast.trace_id):
        assert word not in page


@pytest.mark.parametrize("path", PAGES)
def test_a_tenant_that_is_not_theirs_looks_absent(path: str, cast: Cast) -> None:
    charlie = cast.as_(cast.charlie)
    assert charlie.get(path, {"tenant": "acme"}).status_code == 404
    assert charlie.get(path, {"tenant": "no-such"}).status_code == 404
    assert charlie.get(path, {"tenant": "*"}).status_code == 404


def test_a_trace_of_another_tenant_looks_absent(cast: Cast) -> None:
    charlie = cast.as_(cast.charlie)
    assert charlie.get(f"/traces/{cast.trace_id}/").status_code == 404
    assert charlie.get(f"/traces/{cast.trace_id}/", headers={"HX-Target": "panel"}).status_code == 404
    assert cast.as_(cast.alice).get(f"/traces/{cast.trace_id}/").status_code == 200


def test_an_operator_sees_all_and_keeps_the_choice(cast: Cast) -> None:
    operator = cast.as_(cast.operator)
    assert "All tenants" in operator.get("/").content.decode()
    assert "No calls yet" in operator.get("/", {"tenant": "globex"}).content.decode()
    assert "No calls yet" in operator.get("/costs/").content.decode()


def test_a_member_who_lost_the_tenant_sees_it_no_more(cast: Cast) -> None:
    alice = cast.as_(cast.alice)
    alice.get("/", {"tenant": "acme"})
    cast.alice.tenants.clear()
    assert "You belong to no tenant" in alice.get("/").content.decode()


def test_without_calls_the_pages_say_how_to_send_some(empty_cast: Cast) -> None:
    alice = empty_cast.as_(empty_cast.alice)
    assert "/v1/traces" in alice.get("/").content.decode()
    assert "No budget limits Acme yet" in alice.get("/budgets/").content.decode()


def test_the_overview_says_what_needs_a_person(cast: Cast) -> None:
    page = cast.as_(cast.alice).get("/").content.decode()
    assert "1 call has no price" in page
    assert "mistral-next" in page
    assert "Budget “tight”" in page
    assert "Spike" in page


def test_calls_without_usage_are_told_apart_from_calls_without_a_price(
    empty_cast: Cast, pg: "psycopg.Connection[Any]"
) -> None:
    acme, alice = empty_cast.acme.pk, empty_cast.as_(empty_cast.alice)
    unknown: dict[str, Any] = {"cost_nanousd": None, "price_version": ""}
    start_ns = time.time_ns() - 300 * 10**9
    commit(pg, call(acme, start_ns=start_ns, usage=None, **unknown), call(acme, start_ns=start_ns))
    compact_all(pg)
    overview, costs = (alice.get(path).content.decode() for path in ("/", "/costs/?last=24h"))
    assert "1 call reported no usage" in overview
    assert "no price" not in overview
    assert "it reported no usage" in costs
    assert "1 call more bore no bill" in alice.get("/usage/?last=24h").content.decode()
    commit(pg, call(acme, start_ns=start_ns, request_model="brand-new", **unknown))
    compact_all(pg)
    overview, costs = (alice.get(path).content.decode() for path in ("/", "/costs/?last=24h"))
    assert "1 call has no price" in overview
    assert "1 call reported no usage, too" in overview
    assert "1 reported no usage, the others" in costs


def test_an_unknown_window_or_order_is_named_and_the_page_still_answers(cast: Cast) -> None:
    alice = cast.as_(cast.alice)
    assert "is no window" in alice.get("/", {"last": "soon"}).content.decode()
    assert "order in the address" in alice.get("/traces/", {"sort": "size"}).content.decode()
    assert alice.get("/traces/", {"after": "x"}).status_code == 200
    assert alice.get("/traces/", {"key": "x"}).status_code == 200
    assert alice.get("/traces/", {"q": "\x00%_\\"}).status_code == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("feature", "checkout"), ("model", "gpt-4o"), ("status", "failed"), ("provider", "openai"), ("user", "u_001"),
        ("error", "overloaded_error"), ("session", "s_9f2c41"), ("q", "refund"), ("environment", "production"),
    ],
)  # fmt: skip
def test_traces_pass_a_filter_and_a_chip_removes_it(name: str, value: str, cast: Cast) -> None:
    page = cast.as_(cast.alice).get("/traces/", {name: value, "last": "7d"}).content.decode()
    assert "Remove this filter" in page
    assert 'data-href="/traces/' in page


def test_a_filter_without_hits_names_itself(cast: Cast) -> None:
    page = cast.as_(cast.alice).get("/traces/", {"feature": "no-such"}).content.decode()
    assert "Nothing passes" in page
    assert "no-such" in page


def test_older_pages_repeat_nothing_and_leave_nothing_out(cast: Cast) -> None:
    alice, seen = cast.as_(cast.alice), []
    url: str | None = "/traces/?last=7d&feature=checkout&sort=cost"
    while url:
        response = alice.get(url)
        seen += [row.trace.trace_id for row in response.context["rows"]]
        url = response.context["older"]
    assert len(seen) == len(set(seen)) > 50


def test_a_trace_shows_its_sums_and_the_panel_alone_where_asked(cast: Cast) -> None:
    alice = cast.as_(cast.alice)
    whole = alice.get(f"/traces/{cast.trace_id}/").content.decode()
    assert 'role="treegrid"' in whole
    assert "model_not_allowed" in whole
    span = alice.get(f"/traces/{cast.trace_id}/").context["selected"].span.span_id
    part = alice.get(f"/traces/{cast.trace_id}/?span={span}&tab=cost", headers={"HX-Target": "panel"}).content.decode()
    assert "<html" not in part
    assert "Given back" in part


@pytest.mark.parametrize("tab", ["messages", "cost", "attempts", "attributes", "raw", "no-such"])
def test_each_tab_of_each_span_answers(tab: str, cast: Cast) -> None:
    alice = cast.as_(cast.alice)
    for row in alice.get(f"/traces/{cast.trace_id}/").context["rows"]:
        url = f"/traces/{cast.trace_id}/?span={row.node.span.span_id}&tab={tab}"
        assert alice.get(url, headers={"HX-Target": "panel"}).status_code == 200


def test_what_a_prompt_says_is_never_markup(cast: Cast) -> None:
    trace_id, spans = cast.seeder.agent_trace(2)
    spans[0].name = "<script>alert(1)</script>"
    spans[2].input = '[{"role": "user", "parts": [{"type": "text", "content": "<img src=x onerror=alert(1)>"}]}]'
    cast.seeder.commit(spans)
    alice = cast.as_(cast.alice)
    pages = alice.get(f"/traces/{trace_id}/?span={spans[2].span_id.hex()}&tab=messages").content
    pages += alice.get("/traces/").content
    assert b"<script>alert" not in pages
    assert b"<img" not in pages
    assert b"&lt;img" in pages


def test_costs_sum_up_by_every_dimension(cast: Cast) -> None:
    alice = cast.as_(cast.alice)
    for by in ("feature", "model", "provider", "user", "key", "environment"):
        context = alice.get("/costs/", {"by": by, "last": "7d"}).context
        others = context["others"].cost_nanousd if context["others"] else 0
        assert sum(row.sums.cost_nanousd for row in context["rows"]) + others == context["spent"].cost_nanousd


def test_a_second_level_adds_up_to_its_row(cast: Cast) -> None:
    rows = cast.as_(cast.alice).get("/costs/", {"last": "7d", "open": "support-agent"}).context["rows"]
    children = sum(row.sums.cost_nanousd for row in rows if row.is_child)
    assert children == next(row.sums.cost_nanousd for row in rows if row.name == "support-agent")


def test_each_figure_of_a_cost_chart_is_explained_by_the_page_that_its_cell_leads_to(cast: Cast) -> None:
    alice = cast.as_(cast.alice)
    for page, head in (("/costs/?last=7d", "sum"), ("/?last=24h", "cost per hour")):
        response = alice.get(page)
        figure = response.context["figure"] if "figure" in response.context else response.context["cost"].figure
        found = cells({"visit": response.context["visit"]}, figure)
        column = figure.head.index(head)
        ways = [row[column] for row in found if re.search("[1-9]", row[column][0])]
        assert ways
        for text, address in ways:
            told = alice.get(address).context["told"]
            assert told.is_equal
            if page.startswith("/costs/"):
                assert numbers.money(told.figure.shown) == text


def test_costs_of_an_empty_window_lead_to_one_with_data(cast: Cast) -> None:
    page = cast.as_(cast.alice).get("/costs/", {"from": "2026-01-01", "to": "2026-01-02"}).content.decode()
    assert "Nothing was priced in this window" in page
    assert "show from that day on" in page


def test_a_used_up_budget_stands_first_and_says_so(cast: Cast) -> None:
    budgets = cast.as_(cast.alice).get("/budgets/").context["budgets"]
    assert [figure.info.name for figure in budgets] == ["tight", "monthly"]
    assert budgets[0].state == "used up"
    assert budgets[1].left == 3000 * 10**9 - budgets[1].spent


@pytest.mark.parametrize(
    ("seen", "words"),
    [("refused", "zero is refused at 1 of 1 gateway."), ("answered 200", "was not refused there (answered 200)")],
)
def test_operators_see_whether_the_canary_was_refused(
    cast: Cast, pg: "psycopg.Connection[Any]", seen: str, words: str
) -> None:
    pg.execute(
        "INSERT INTO heartbeat (owner, kind, host, pid, config_version, canary, seen_at) "
        "VALUES ('g1', 'gateway', 'here', 1, 1, %s, now())",
        (seen,),
    )
    assert words in cast.as_(cast.operator).get("/budgets/").content.decode()
    assert "gateway" not in cast.as_(cast.alice).get("/budgets/").content.decode()


def test_a_budget_says_when_in_the_zone_of_its_page(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    pg.execute("UPDATE tenants_tenant SET time_zone = 'Asia/Tokyo' WHERE slug = 'acme'")
    pg.execute(
        "INSERT INTO threshold_event (tenant_id, budget_id, revision, value, window_start, threshold, spent, "
        "limit_amount, at) SELECT tenant_id, id, 1, '', now(), 70, 1, 1, date_trunc('day', now()) "
        "FROM budgets_budget WHERE name = 'monthly'"
    )
    shown = cast.as_(cast.operator).get("/budgets/", {"tenant": "*"}).context["budgets"]
    assert [", 00:00" in figure.detail for figure in shown if figure.info.name == "monthly"] == [True]


def test_the_theme_is_kept_in_a_cookie_and_rendered_by_the_server(cast: Cast) -> None:
    alice = cast.as_(cast.alice)
    assert "data-theme" not in alice.get("/").content.decode()
    response = alice.post("/theme/", {"theme": "dark", "back": "https://elsewhere.example/"})
    assert response["Location"] == "/"
    assert 'data-theme="dark"' in alice.get("/").content.decode()


def test_nothing_comes_from_another_host_and_no_script_is_inline(cast: Cast) -> None:
    for path in PAGES:
        page = cast.as_(cast.alice).get(path).content.decode()
        assert 'src="http' not in page
        assert " onclick=" not in page
        assert "<script>" not in page
        assert " style=" not in page
