"""Traces, metrics and usage over REST: spans in by HTTP, through the journal and the writer's commit, out by HTTP."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.test import override_settings
from rest_framework.test import APIClient

from llmobs.budgets.definition import Budgets
from llmobs.core.money import exact_usd
from llmobs.evals.models import Score
from llmobs.ingest import api as ingest_api
from llmobs.ingest.commit import Batch, commit_batch
from llmobs.ingest.entries import NativeSpans
from llmobs.ingest.journal_reader import JournalReader
from llmobs.ingest.otlp import native
from llmobs.pricing.book import PriceBook
from llmobs.pricing.cost import cost
from llmobs.tenants.attribution import Attribution
from tests.ingest.calls import fallen_back, hit, stream
from tests.tenants.cast import Cast, as_person, assert_problem, make_cast, make_key, with_key

API = "/api/v1"
TRACE, ROOT, CALL, OTHER = (
    "0af7651916cd43dd8448eb211c80319c",
    "00f067aa0ba902b7",
    "00f067aa0ba902b8",
    "00f067aa0ba902b9",
)
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
# gpt-4o-mini: 0.15 USD per million input tokens, 0.60 output: 1000 and 500 tokens.
COST = "0.00045"


def span(span_id: str, **more: Any) -> dict[str, Any]:
    return {
        "trace_id": TRACE,
        "span_id": span_id,
        "name": "step",
        "start": START.isoformat(),
        "duration_ms": 1500,
        **more,
    }


def call(span_id: str, model: str = "gpt-4o-mini", **more: Any) -> dict[str, Any]:
    said = {"input": "Where is my order?", "output": "On its way."}
    usage = {"input_tokens": 1000, "output_tokens": 500}
    named = {"name": f"chat {model}", "operation_name": "chat", "provider_name": "openai", "request_model": model}
    return span(span_id, **named, **usage, **said, response_id=f"r-{span_id}", **more)


def post(client: APIClient, *spans: dict[str, Any], address: str = f"{API}/traces/") -> Any:
    return client.post(address, {"spans": list(spans)}, format="json")


def write(pg: "psycopg.Connection[Any]") -> None:
    """What the writer does with the web's journal."""
    journal, book = ingest_api.journal(), PriceBook()
    chunk = JournalReader(journal.folder, settings.SECRETS.journal_key).read(0)
    batch = Batch()
    for _, entry in chunk.entries:
        assert isinstance(entry, NativeSpans)
        for each in native.decode(entry, Attribution(key_id=entry.key_id)):
            price = book.price(each.tenant_id, each.provider_name, each.model, each.start_ns)
            if each.usage and price:
                each.cost_nanousd, each.price_version = cost(each.usage, price), price.version
                batch.prices.append(price)
            batch.spans.append(each)
    commit_batch(pg, batch, Budgets())


@pytest.fixture
def cast(transactional_db: None, pg: "psycopg.Connection[Any]", tmp_path: Any) -> Any:
    place = type(settings.PLACE)(tmp_path)
    place.journal.mkdir()
    ingest_api.journal.cache_clear()
    with override_settings(PLACE=place):
        yield make_cast()
        ingest_api.journal().close()
    ingest_api.journal.cache_clear()


@pytest.fixture
def stored(cast: Cast, pg: "psycopg.Connection[Any]") -> Cast:
    """A trace of acme: a root without usage, a priced call of a user below it, and one whose model has no price."""
    posted = post(
        with_key("acme"),
        span(ROOT, name="POST /ask", feature="chat"),
        call(CALL, parent_span_id=ROOT, feature="chat", user_id="=u1", ttft_ms=200),
        call(OTHER, model="nobody-knows", parent_span_id=ROOT, feature="search", status="failed", error_type="timeout"),
    )
    assert posted.status_code == 202, posted.content
    assert posted.json() == {"accepted_spans": 3, "rejected": []}
    write(pg)
    return cast


def test_a_posted_trace_is_listed_with_its_totals(stored: Cast) -> None:
    [trace] = with_key("acme").get(f"{API}/traces/").json()["results"]

    assert (trace["trace_id"], trace["name"], trace["tenant"]) == (TRACE, "POST /ask", "acme")
    assert (trace["cost_usd"], trace["unpriced_requests"], trace["span_count"]) == (COST, 1, 3)
    assert (trace["input_tokens"], trace["output_tokens"]) == (2000, 1000)
    assert sorted(trace["models"]) == ["gpt-4o-mini", "nobody-knows"]
    assert trace["session_id"] is None
    assert trace["duration_ms"] == 1500


def test_a_whole_trace_has_its_tree_costs_rolled_up_and_messages(stored: Cast) -> None:
    """S0-49: one trace from the user's request on, with the whole cost and each child's."""
    trace = with_key("acme").get(f"{API}/traces/{TRACE}/").json()

    spans = {each["span_id"]: each for each in trace["spans"]}
    root, priced, unpriced = spans[ROOT], spans[CALL], spans[OTHER]
    assert (root["cost_usd"], root["subtree_cost_usd"], root["billed"]) == (None, COST, False)
    assert (priced["cost_usd"], priced["billed"], priced["parent_span_id"]) == (COST, True, ROOT)
    assert (unpriced["cost_usd"], unpriced["error_type"]) == (None, "timeout")
    assert priced["input"][0]["parts"][0]["content"] == "Where is my order?"
    assert root["input"] is None
    assert (priced["ttft_ms"], priced["user_id"], root["input_tokens"]) == (200, "=u1", None)


def test_a_call_that_got_no_answer_bears_no_bill(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    named = {"operation_name": "chat", "provider_name": "openai", "request_model": "gpt-4o-mini"}
    posted = post(with_key("acme"), span(CALL, status="failed", error_type="provider_unavailable", **named))
    assert posted.status_code == 202, posted.content
    write(pg)

    [failed] = with_key("acme").get(f"{API}/traces/{TRACE}/").json()["spans"]
    assert (failed["status"], failed["billed"], failed["cost_usd"]) == ("failed", False, None)
    assert with_key("acme").get(f"{API}/usage/").json()["results"] == []


def test_posting_again_adds_nothing(stored: Cast, pg: "psycopg.Connection[Any]") -> None:
    post(with_key("acme"), call(CALL, parent_span_id=ROOT))
    write(pg)

    [trace] = with_key("acme").get(f"{API}/traces/").json()["results"]
    assert (trace["span_count"], trace["cost_usd"]) == (3, COST)


def test_a_stranger_sees_none_of_it(stored: Cast) -> None:
    for stranger in (with_key("globex"), as_person(stored.charlie)):
        assert_problem(stranger.get(f"{API}/traces/{TRACE}/"), 404)
        for resource in ("traces", "usage", "metrics"):
            found = stranger.get(f"{API}/{resource}/").json()["results"]
            assert [row for row in found if row.get("requests") != 0] == []


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("feature=chat", 1), ("model=gpt-4o-mini", 1), ("model=gpt-9", 0), ("min_cost_usd=0.0001", 1),
        ("min_cost_usd=1", 0), ("min_duration_ms=1500", 1), ("min_duration_ms=1501", 0), ("q=ask", 1), ("q=nothing", 0),
        ("status=failed", 1), ("status=error", 1), ("session=s", 0), ("last=1h", 0), ("sort=cost", 1),
        (f"q={TRACE}", 1),
    ],
)  # fmt: skip
def test_filters_narrow_the_list(stored: Cast, query: str, count: int) -> None:
    assert len(with_key("acme").get(f"{API}/traces/?{query}").json()["results"]) == count


@pytest.mark.parametrize(
    "query",
    [
        "status=odd", "min_cost_usd=many", "min_duration_ms=-1", "sort=colour", "cursor=xyz", "from=yesterday",
        "limit=0x", "last=5000d",
    ],
)  # fmt: skip
def test_a_wrong_filter_is_named(cast: Cast, query: str) -> None:
    assert_problem(with_key("acme").get(f"{API}/traces/?{query}"), 400)


def test_pages_of_traces_follow_the_cursor(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    for number in range(3):
        post(with_key("acme"), {**span(ROOT), "trace_id": f"{number + 1:032x}"})
    write(pg)
    client, found, address = with_key("acme"), [], f"{API}/traces/?limit=2"
    while address:
        page = client.get(address).json()
        found += [row["trace_id"] for row in page["results"]]
        address = page["next"]

    assert sorted(found) == [f"{number + 1:032x}" for number in range(3)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"trace_id": "abc"}, {"start": "2001-01-01T00:00:00Z"}, {"start": "soon"}, {"input_tokens": -1},
        {"duration_ms": -5}, {"status": "odd"},
    ],
)  # fmt: skip
def test_a_wrong_span_is_refused_and_nothing_kept(cast: Cast, wrong: dict[str, Any]) -> None:
    assert_problem(post(with_key("acme"), {**call(CALL), **wrong}), 400)

    assert JournalReader(ingest_api.journal().folder, settings.SECRETS.journal_key).read(0).entries == []


def test_whose_spans_they_are_must_be_known_and_allowed(cast: Cast) -> None:
    make_key(None, "ops", "operator")

    assert_problem(post(with_key("operator"), call(CALL)), 400)
    assert post(with_key("operator"), call(CALL), address=f"{API}/traces/?tenant=acme").status_code == 202
    assert_problem(post(with_key("acme"), call(CALL), address=f"{API}/traces/?tenant=globex"), 404)
    assert_problem(post(as_person(cast.bob), call(CALL)), 403)


def test_metrics_sum_by_group(stored: Cast) -> None:
    answer = with_key("acme").get(
        f"{API}/metrics/?metric=cost_usd,requests,errors,p95,ttft_p95&group_by=feature,model&last=24h"
    )
    rows = {(row["feature"], row["model"]): row for row in answer.json()["results"]}

    priced, unpriced = rows["chat", "gpt-4o-mini"], rows["search", "nobody-knows"]
    assert (priced["cost_usd"], priced["requests"], priced["errors"]) == (COST, 1, 0)
    assert priced["p95"] == pytest.approx(1500, rel=0.02)
    assert priced["ttft_p95"] == pytest.approx(200, rel=0.02)
    assert (unpriced["cost_usd"], unpriced["errors"], unpriced["ttft_p95"]) == (None, 1, None)


def test_metrics_over_time_have_their_bucket(stored: Cast) -> None:
    rows = with_key("acme").get(f"{API}/metrics/?metric=requests&interval=hour&last=24h").json()["results"]

    assert [(row["at"], row["requests"]) for row in rows if row["requests"]] == [
        (START.replace(minute=0, second=0).isoformat().replace("+00:00", "Z"), 2)
    ]


def test_latencies_alone_come_in_the_same_groups_as_with_sums(stored: Cast) -> None:
    """Groups of which none has a latency too, with null."""
    asked = f"{API}/metrics/?last=24h&interval=hour&group_by=model&metric=p95,ttft_p50"
    alone = with_key("acme").get(asked).json()["results"]
    beside = with_key("acme").get(f"{asked},requests").json()["results"]

    assert len(alone) == len(beside) > 1
    bare = [{name: value for name, value in row.items() if name != "requests"} for row in beside]
    assert sorted(alone, key=str) == sorted(bare, key=str)


def test_metrics_know_what_the_cache_and_the_second_tries_did(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    """S3-30: the share of hits by feature, and what they saved."""
    tenant_id = cast.acme.pk
    spans = [*fallen_back(tenant_id), hit(tenant_id), hit(tenant_id), stream(tenant_id)]
    commit_batch(pg, Batch(spans=spans), Budgets())
    names = "requests,errors,calls,failed_calls,degraded,cached_calls,cache_hit_rate,saved_usd,tokens_per_second"
    [row] = with_key("acme").get(f"{API}/metrics/?metric={names}&group_by=feature&last=24h").json()["results"]

    assert (row["feature"], row["requests"], row["errors"], row["degraded"]) == ("support", 5, 1, 1)
    assert (row["calls"], row["failed_calls"], row["cached_calls"], row["cache_hit_rate"]) == (4, 0, 2, 0.5)
    assert (row["saved_usd"], row["tokens_per_second"]) == ("0.000008", 100.0)


@pytest.mark.parametrize(
    "query",
    ["metric=speed", "group_by=colour", "interval=second", "user=u", "interval=minute&last=30d"],
)
def test_a_wrong_question_of_metrics_is_named(cast: Cast, query: str) -> None:
    assert_problem(with_key("acme").get(f"{API}/metrics/?{query}"), 400)


def test_quality_is_what_judges_gave_and_no_thumb(stored: Cast) -> None:
    scores = [
        ("judge", 8, stored.acme),
        ("judge", 5, stored.acme),
        ("user", -1, stored.acme),
        ("judge", 1, stored.globex),
    ]
    for source, value, tenant in scores:
        Score.objects.create(
            tenant=tenant,
            trace_id=bytes.fromhex(TRACE),
            span_id=bytes.fromhex(CALL),
            name="q",
            value=value,
            source=source,
        )
    query = "metric=quality,requests&group_by=model&last=24h"
    rows = {row["model"]: row for row in with_key("acme").get(f"{API}/metrics/?{query}").json()["results"]}
    assert (rows["gpt-4o-mini"]["quality"], rows["gpt-4o-mini"]["requests"]) == (6.5, 1)
    assert {row["quality"] for model, row in rows.items() if model != "gpt-4o-mini"} == {None}
    hours = with_key("acme").get(f"{API}/metrics/?metric=quality&interval=hour&feature=none").json()["results"]
    assert hours == []


def test_usage_is_what_was_billed_unpriced_too(stored: Cast) -> None:
    rows = with_key("acme").get(f"{API}/usage/").json()["results"]

    priced, unpriced = sorted(rows, key=lambda row: row["model"])
    assert (priced["tenant"], priced["user"], priced["day"]) == ("acme", "=u1", START.date().isoformat())
    assert (priced["cost_usd"], priced["requests"], priced["unpriced_requests"]) == (COST, 1, 0)
    assert (priced["input_tokens"], priced["cache_read_input_tokens"], priced["output_tokens"]) == (1000, 0, 500)
    assert (unpriced["cost_usd"], unpriced["requests"], unpriced["unpriced_requests"]) == (None, 1, 1)
    assert (unpriced["user"], unpriced["service"]) == (None, None)


def test_cost_is_told_per_request_per_user_per_month_and_tokens_over_time(stored: Cast) -> None:
    """S2-37: the four metrics of cost, each at one address; the run rate and the month's forecast are on /costs/."""
    client = with_key("acme")
    spans = client.get(f"{API}/traces/{TRACE}/").json()["spans"]
    assert [each["cost_usd"] for each in spans if each["span_id"] == CALL] == [COST]
    by_user = client.get(f"{API}/usage/?group_by=user,feature&last=24h").json()["results"]
    assert ("=u1", COST, 1) in [(row["user"], row["cost_usd"], row["requests"]) for row in by_user]
    [month] = client.get(f"{API}/usage/?group_by=month&last=24h").json()["results"]
    assert (month["month"], month["cost_usd"]) == (f"{START:%Y-%m}", COST)
    tokens = client.get(f"{API}/metrics/?metric=input_tokens,output_tokens&interval=hour&last=24h").json()["results"]
    assert [(row["input_tokens"], row["output_tokens"]) for row in tokens if row["input_tokens"]] == [(2000, 1000)]


def test_usage_pages_and_its_sums_are_exact(stored: Cast) -> None:
    client, rows, address = with_key("acme"), [], f"{API}/usage/?limit=1"
    while address:
        page = client.get(address).json()
        rows += page["results"]
        address = page["next"]

    assert len(rows) == 2
    assert exact_usd(450_000) == COST
    assert_problem(client.get(f"{API}/usage/?cursor=xyz"), 400)


def test_usage_as_csv_holds_all_and_no_formula(stored: Cast) -> None:
    answer = with_key("acme").get(f"{API}/usage/", headers={"accept": "text/csv"})

    assert answer["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert sorted(row["cost_usd"] for row in rows) == ["", COST]
    assert {row["user"] for row in rows} == {"", "'=u1"}


def test_a_wrong_span_beside_good_ones_is_named_and_left_out(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    posted = post(with_key("acme"), call(CALL), {**call(OTHER), "input_tokens": -1})
    assert posted.status_code == 202
    assert posted.json()["accepted_spans"] == 1
    assert [(one["position"], "input_tokens" in one["message"]) for one in posted.json()["rejected"]] == [(1, True)]
    write(pg)
    assert pg.execute("SELECT count(*) FROM span").fetchone() == (1,)
