"""Usage for chargeback: dimensions, time zones, formats, and that its sums are the bills' to the nano-USD."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow
import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pyarrow import parquet

from dashboards.api.usage import STALLED_SECONDS, Streamed
from dashboards.queries.usage import GROUPS
from llmobs.core.ids import new_row_id
from llmobs.core.money import exact_usd
from tests.tenants.cast import Cast, assert_problem, make_cast, with_key

USAGE = "/api/v1/usage/"
PARQUET = "application/vnd.apache.parquet"
NOON = datetime(2024, 10, 26, 12, tzinfo=UTC)
OCTOBER = "from=2024-10-01&to=2024-11-01"
DIMENSIONS = {"feature": "", "user_id": "", "service": "", "environment": "", "session_id": "", "model": "gpt-4o",
              "provider_name": "openai", "key_id": 0, "prompt_version": "", "tier": ""}  # fmt: skip


@pytest.fixture
def cast(transactional_db: None, pg: "psycopg.Connection[Any]") -> Iterator[Cast]:
    found = make_cast()
    type(found.acme).objects.filter(pk=found.acme.pk).update(time_zone="Europe/Berlin")
    pg.execute("CREATE TABLE bill_of_usage PARTITION OF bill FOR VALUES FROM ('2024-09-01') TO ('2024-12-01')")
    yield found
    pg.execute("DROP TABLE bill_of_usage")


def bill(pg: "psycopg.Connection[Any]", tenant_id: int, cost: int | None, at: datetime = NOON, **more: Any) -> None:
    values = {
        **DIMENSIONS, "tenant_id": tenant_id, "bill_id": new_row_id(), "begin_at": at, "trace_id": b"t" * 16,
        "span_id": b"s" * 8, "kind": "measured", "reason": "", "source": 1, "requests": 1, "response_id": "",
        "uncached_input_tokens": 100, "cache_read_input_tokens": 20, "cache_write_5m_input_tokens": 3,
        "cache_write_1h_input_tokens": 4, "output_tokens": 10, "reasoning_output_tokens": 5, "cost_nanousd": cost,
        "price_version": "v", "held_nanousd": 0, "budget_ids": [], **more,
    }  # fmt: skip
    pg.execute(f"INSERT INTO bill ({', '.join(values)}) VALUES ({', '.join(['%s'] * len(values))})", [*values.values()])


def reversal(pg: "psycopg.Connection[Any]", tenant_id: int, cost: int | None, **more: Any) -> None:
    names = ("uncached_input_tokens", "cache_read_input_tokens", "cache_write_5m_input_tokens",
             "cache_write_1h_input_tokens", "output_tokens", "reasoning_output_tokens")  # fmt: skip
    counts: dict[str, Any] = dict(zip(names, (-100, -20, -3, -4, -10, -5), strict=True))
    bill(pg, tenant_id, None if cost is None else -cost, kind="reversal", requests=-1, **counts, **more)


@pytest.fixture
def billed(cast: Cast, pg: "psycopg.Connection[Any]") -> Cast:
    """Every kind of bill there is."""
    acme = cast.acme.pk
    bill(pg, acme, 1_000_000_001, feature="chat", user_id="=cmd()")
    bill(pg, acme, 2, feature="chat", user_id="u2", at=NOON + timedelta(hours=11))  # after midnight in Berlin
    bill(pg, acme, 500, feature="chat", kind="estimated")
    bill(pg, acme, None, feature="search", model="new-model")
    bill(pg, acme, 700, feature="search", model="gone")
    reversal(pg, acme, 700, feature="search", model="gone")
    bill(pg, acme, -300, feature="chat", kind="adjustment", requests=0, uncached_input_tokens=0, output_tokens=0,
         cache_read_input_tokens=0, cache_write_5m_input_tokens=0, cache_write_1h_input_tokens=0,
         reasoning_output_tokens=0)  # fmt: skip
    bill(pg, acme, 9_000, feature="voice", tier="batch", units=psycopg.types.json.Jsonb({"audio_input": 40}))
    bill(pg, acme, 8_000, feature="voice", units=psycopg.types.json.Jsonb({"audio_input": 2, "web_search": 1}))
    bill(pg, cast.globex.pk, 42, feature="theirs")
    return cast


def rows_of(query: str, tenant: str = "acme") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = with_key(tenant).get(f"{USAGE}?{OCTOBER}&{query}").json()["results"]
    return found


def read_csv(query: str) -> list[dict[str, str]]:
    answer = with_key("acme").get(f"{USAGE}?{OCTOBER}&format=csv&{query}")
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode())))


def read_parquet(query: str) -> pyarrow.Table:
    answer = with_key("acme").get(f"{USAGE}?{OCTOBER}&{query}", headers={"accept": PARQUET})
    assert answer["Content-Type"] == PARQUET
    return parquet.read_table(io.BytesIO(answer.getvalue()))


def ledger(pg: "psycopg.Connection[Any]", tenant_id: int) -> tuple[Any, ...]:
    row = pg.execute(
        "SELECT sum(cost_nanousd)::bigint, sum(requests)::bigint, sum(uncached_input_tokens + cache_read_input_tokens "
        "+ cache_write_5m_input_tokens + cache_write_1h_input_tokens)::bigint, sum(output_tokens)::bigint, "
        "(sum(requests) FILTER (WHERE cost_nanousd IS NULL))::bigint FROM bill WHERE tenant_id = %s",
        [tenant_id],
    ).fetchone()
    assert row is not None
    return tuple(row)


@pytest.mark.parametrize("groups", ["", *GROUPS, "feature,model,month", "user,day,tier,key"])
def test_its_sums_are_those_of_the_bills_by_any_dimensions(
    billed: Cast, pg: "psycopg.Connection[Any]", groups: str
) -> None:
    rows = rows_of(f"group_by={groups}" if groups else "")
    cost = sum((Decimal(row["cost_usd"]) for row in rows if row["cost_usd"]), Decimal(0))
    counts = [sum(row[name] for row in rows) for name in ("requests", "input_tokens", "output_tokens",
                                                           "unpriced_requests")]  # fmt: skip
    assert (int(cost.scaleb(9)), *counts) == ledger(pg, billed.acme.pk)


def test_the_three_formats_and_the_pages_say_the_same(billed: Cast) -> None:
    query = "group_by=feature,user,day"
    pages = rows_of(query)
    whole = with_key("acme").get(f"{USAGE}?{OCTOBER}&{query}&whole=true")
    assert whole.streaming
    assert json.loads(whole.getvalue())["results"] == pages
    table = read_parquet(query)
    as_rows = [
        {**row, "day": str(row["day"]), "units": dict(row["units"]),
         "cost_usd": None if row["cost_usd"] is None else exact_usd(int(row["cost_usd"].scaleb(9)))}
        for row in table.to_pylist()
    ]  # fmt: skip
    assert as_rows == pages
    in_csv = read_csv(query)
    assert [(row["cost_usd"], row["requests"], row["day"]) for row in in_csv] == [
        (row["cost_usd"] or "", str(row["requests"]), row["day"]) for row in pages
    ]


def test_parquet_holds_money_as_decimals_and_days_as_dates(billed: Cast) -> None:
    schema = read_parquet("").schema
    assert schema.field("cost_usd").type == pyarrow.decimal128(38, 9)
    assert schema.field("day").type == pyarrow.date32()
    assert schema.field("requests").type == pyarrow.int64()


def test_a_day_begins_at_the_tenants_midnight(billed: Cast) -> None:
    days = {row["day"]: row["cost_usd"] for row in rows_of("group_by=day&feature=chat")}
    assert days == {"2024-10-26": "1.000000201", "2024-10-27": "0.000000002"}


def test_the_day_on_which_clocks_go_back_has_twenty_five_hours(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    first = datetime(2024, 10, 26, 22, tzinfo=UTC)  # midnight in Berlin
    for hour in range(25):
        bill(pg, cast.acme.pk, 1, at=first + timedelta(hours=hour))
    assert [row["requests"] for row in rows_of("group_by=day")] == [25]
    hours = [row["hour"] for row in rows_of("group_by=hour")]
    assert len(set(hours)) == 25
    assert hours[2:4] == ["2024-10-27T02:00:00+02:00", "2024-10-27T02:00:00+01:00"]


def test_times_without_an_offset_are_the_tenants(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    bill(pg, cast.acme.pk, 1, at=datetime(2024, 9, 30, 22, 30, tzinfo=UTC) + timedelta(days=1))
    answer = with_key("acme").get(f"{USAGE}?from=2024-10-02&to=2024-10-03").json()["results"]
    assert [row["day"] for row in answer] == ["2024-10-02"]


def test_what_nothing_is_left_of_is_no_row_and_what_has_no_price_is(billed: Cast) -> None:
    models = {row["model"]: (row["cost_usd"], row["unpriced_requests"]) for row in rows_of("group_by=model")}
    assert "gone" not in models
    assert models["new-model"] == (None, 1)


def test_units_and_tiers_are_told(billed: Cast) -> None:
    rows = {row["tier"]: row["units"] for row in rows_of("group_by=tier&feature=voice")}
    assert rows == {"batch": {"audio_input": 40}, None: {"audio_input": 2, "web_search": 1}}


def test_pages_of_one_row_come_to_the_same(billed: Cast) -> None:
    client, found, address = with_key("acme"), [], f"{USAGE}?{OCTOBER}&group_by=feature,user,hour&limit=1"
    while address:
        page = client.get(address).json()
        found += page["results"]
        address = page["next"] or ""
    assert found == rows_of("group_by=feature,user,hour")
    assert_problem(client.get(f"{USAGE}?group_by=feature&cursor=WyJhIiwgImIiXQ"), 400)


def test_a_name_is_no_formula_and_a_credit_is_a_number(cast: Cast, pg: "psycopg.Connection[Any]") -> None:
    bill(pg, cast.acme.pk, -300, user_id="=1+1", kind="adjustment", requests=0)
    [row] = read_csv("group_by=user")
    assert (row["user"], row["cost_usd"]) == ("'=1+1", "-0.0000003")


def test_a_stranger_gets_nothing_in_any_format(billed: Cast) -> None:
    assert [row["feature"] for row in rows_of("", "globex")] == ["theirs"]
    stranger = with_key("globex")
    for kind in ("json", "csv", "parquet"):
        assert_problem(stranger.get(f"{USAGE}?{OCTOBER}&tenant=acme&format={kind}", headers={"accept": "*/*"}), 404)
    text = stranger.get(f"{USAGE}?{OCTOBER}&format=csv").getvalue().decode()
    assert "chat" not in text


def test_a_part_is_made_only_when_the_one_before_is_taken() -> None:
    """Under ASGI, as the web runs: Django itself would gather all parts of a plain iterator first."""
    made: list[int] = []

    def parts() -> Iterator[bytes]:
        for number in range(3):
            made.append(number)
            yield str(number).encode()

    async def take_one() -> bytes:
        following = aiter(Streamed(parts()))
        return await anext(following)

    assert async_to_sync(take_one)() == b"0"
    assert made == [0]


def test_who_takes_no_more_of_an_export_loses_the_database_not_we(billed: Cast) -> None:
    with CaptureQueriesContext(connection) as asked:
        assert with_key("acme").get(f"{USAGE}?{OCTOBER}&format=csv").getvalue()
    (first, *_) = [each["sql"] for each in asked if "idle_in_transaction" in each["sql"]]
    assert f"'{STALLED_SECONDS}s', true" in first


@pytest.mark.parametrize("query", ["group_by=password", "group_by=day,hour", "from=never", "format=xlsx"])
def test_a_wrong_question_is_named(cast: Cast, query: str) -> None:
    assert with_key("acme").get(f"{USAGE}?{query}").status_code in (400, 404, 406)
