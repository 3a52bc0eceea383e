"""Bills added up by day: with them, without them, and while some come late, every sum is that of the bills."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboards.queries import billed, costs
from dashboards.queries.scope import Filters, Scope
from dashboards.queries.unpriced import unpriced
from dashboards.queries.usage import dearest, read, statement, usage, usage_total
from dashboards.window import Window
from llmobs.core.clock import NS_PER_SECOND, now_ns, ns_from_utc
from llmobs.core.ids import new_row_id
from llmobs.ops.verify import verify
from llmobs.rollups import bills as rolled_up
from llmobs.rollups.bills import close_bills, index_users, mark_late, rename_user
from llmobs.spans.partitions import make_partitions
from tests.ingest.making import call, commit

Connection = psycopg.Connection[Any]
NOW = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=3)
ZONES = ("UTC", "Asia/Kolkata", "America/New_York")
DAYS = 5
WINDOW = Window(NOW - timedelta(days=DAYS), NOW + timedelta(hours=1), ZoneInfo("UTC"))


@dataclass
class Written:
    tenant_id: int
    begin_ns: int


made_bill = st.fixed_dictionaries({
    "tenant_id": st.sampled_from([1, 2]),
    "minutes_ago": st.integers(0, DAYS * 1440 - 60),
    "user_id": st.sampled_from(["", "ann", "ben"]),
    "feature": st.sampled_from(["", "chat"]),
    "model": st.sampled_from(["gpt-4o", "in-house"]),
    "kind": st.sampled_from(["measured", "estimated", "adjustment"]),
    "requests": st.sampled_from([1, -1, 0]),
    "cost_nanousd": st.sampled_from([None, 0, 5, -5]),
    "units": st.sampled_from([None, '{"web_search": 2}', '{"web_search": -2, "audio_input": 7}']),
    "tier": st.sampled_from(["", "batch"]),
    "price_version": st.sampled_from(["v1", "v2"]),
})  # fmt: skip


@pytest.fixture
def tenants(pg: Connection) -> Connection:
    for number, slug in ((1, "acme"), (2, "globex")):
        pg.execute(
            "INSERT INTO tenants_tenant (id, slug, name, plan, content, time_zone, retention_days, is_active, "
            "created_at) VALUES (%s, %s, %s, 'none', 'full', %s, 400, true, now())",
            (number, slug, slug, ZONES[number - 1]),
        )
    make_partitions(pg, {(NOW - timedelta(days=n)).date() for n in range(-1, DAYS + 2)})
    return pg


def write(conn: Connection, rows: list[dict[str, Any]]) -> None:
    """As the writer does: the bills, and marks of those that are old."""
    with conn.transaction():
        for row in rows:
            at = NOW - timedelta(minutes=row["minutes_ago"])
            values = {
                "bill_id": new_row_id(), "begin_at": at, "trace_id": b"t" * 16, "span_id": b"s" * 8, "reason": "",
                "source": 1, "provider_name": "openai", "response_id": "", "uncached_input_tokens": 100,
                "cache_read_input_tokens": 20, "cache_write_5m_input_tokens": 3, "cache_write_1h_input_tokens": 4,
                "output_tokens": 10, "reasoning_output_tokens": 5, "held_nanousd": 0, "budget_ids": [],
                "service": "shop", "environment": "production", "session_id": "s-1", "key_id": 7,
                "prompt_version": "", **{name: value for name, value in row.items() if name != "minutes_ago"},
            }  # fmt: skip
            conn.execute(
                f"INSERT INTO bill ({', '.join(values)}) VALUES ({', '.join(['%s'] * len(values))})", [*values.values()]
            )
            mark_late(conn, [Written(row["tenant_id"], ns_from_utc(at))], ns_from_utc(NOW))


def answers(conn: Connection) -> list[str]:
    """Everything that is asked of bills, over two tenants and over one, with and without filters."""
    cursor, found = conn.cursor(), []
    for tenant_ids in ((1, 2), (2,)):
        for filters in (Filters(), Filters(feature="chat"), Filters(user="ann")):
            scope = Scope(tenant_ids, WINDOW, filters)
            found.append(repr(usage_total(cursor, scope)))
            groups: list[tuple[str, ...]] = [
                ("tenant", "day"), ("user", "month"), ("model", "tier", "feature"), ("day", "user"), ("user", "model"),
                ("hour", "model"),
            ]  # fmt: skip
            found += [repr(usage(cursor, scope, 500, groups=each)) for each in groups]
            found.append(repr(dearest(cursor, scope, ("tenant", "user"), 100)))
            found += [repr(costs.cost_by(cursor, scope, by)) for by in ("user", "model") if by == "user"]
            found.append(repr(sorted(map(repr, costs.paid_for(cursor, scope)))))
    # When the first and the last came is told as exactly as hours or days were added up.
    rows = unpriced(cursor, (1, 2), WINDOW.start, WINDOW.end)
    found.append(repr([replace(row, first_at=WINDOW.start, last_at=WINDOW.end) for row in rows]))
    return found


def of_bills_alone(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    with monkeypatch.context() as patched:
        patched.setattr(billed, "COARSE", ())
        patched.setattr(billed, "UNPRICED_USERS", ("", frozenset()))
        return answers(conn)


def differences(conn: Connection) -> list[Any]:
    return [each for each in verify(conn).differences if each.check in {f"{t} = bills" for t in rolled_up.TABLES}]


@settings(max_examples=12, deadline=None)
@given(
    first=st.lists(made_bill, max_size=25), late=st.lists(made_bill, max_size=8), later=st.integers(0, 90),
    zone=st.sampled_from(ZONES),
)  # fmt: skip
def test_every_sum_is_that_of_the_bills(
    tenants: Connection, monkeypatch: pytest.MonkeyPatch, first: list[Any], late: list[Any], later: int, zone: str
) -> None:
    conn = tenants
    for table in ("bill", "bill_chunk", "bill_late", *rolled_up.TABLES):
        conn.execute(f"DELETE FROM {table}")
    conn.execute("UPDATE tenants_tenant SET time_zone = %s WHERE id = 2", (zone,))
    write(conn, first)
    close_bills(conn, NOW)
    assert answers(conn) == of_bills_alone(conn, monkeypatch)
    write(conn, late)
    assert answers(conn) == of_bills_alone(conn, monkeypatch)
    assert differences(conn) == []
    close_bills(conn, NOW + timedelta(minutes=later))
    assert conn.execute("SELECT count(*) FROM bill_late WHERE at < %s", (NOW - timedelta(hours=2),)).fetchone() == (0,)
    assert answers(conn) == of_bills_alone(conn, monkeypatch)
    assert differences(conn) == []


def bill_at(minutes_ago: int, **values: Any) -> dict[str, Any]:
    return {
        "tenant_id": 1, "minutes_ago": minutes_ago, "user_id": "ann", "feature": "chat", "model": "gpt-4o",
        "kind": "measured", "requests": 1, "cost_nanousd": 5, "units": None, "tier": "", "price_version": "v1",
        **values,
    }  # fmt: skip


def test_a_day_takes_the_place_of_its_hours(tenants: Connection) -> None:
    write(tenants, [bill_at(ago) for ago in range(0, 3 * 1440, 30)])
    close_bills(tenants, NOW)
    hours = tenants.execute("SELECT count(*) FROM bill_chunk WHERE until - since = interval '1 hour'").fetchone()
    close_bills(tenants, NOW + timedelta(days=2, hours=3))
    midnight = NOW.replace(hour=0, minute=0)
    left = tenants.execute("SELECT count(*) FROM bill_chunk WHERE until - since < interval '1 day' AND since < %s",
                           (midnight + timedelta(days=1),)).fetchone()  # fmt: skip
    assert (hours is not None and hours[0] > 0) or NOW - midnight < timedelta(hours=2)
    assert left == (0,)
    assert usage_total(tenants.cursor(), Scope((1,), WINDOW)).requests == 3 * 48


def test_what_is_added_up_is_read_instead_of_bills(tenants: Connection) -> None:
    write(tenants, [bill_at(2 * 1440)])
    close_bills(tenants, NOW)
    tenants.execute("DELETE FROM bill")
    scope = Scope((1,), WINDOW)
    assert usage_total(tenants.cursor(), scope).requests == 1
    assert usage_total(tenants.cursor(), Scope((1,), WINDOW, Filters(session="s-1"))).requests == 0


def test_a_tenant_that_moves_to_another_zone_has_its_days_made_anew(tenants: Connection) -> None:
    write(tenants, [bill_at(ago) for ago in range(60, 3 * 1440, 60)])
    close_bills(tenants, NOW)
    tenants.execute("UPDATE tenants_tenant SET time_zone = 'Asia/Tokyo' WHERE id = 1")
    before = usage(tenants.cursor(), Scope((1,), WINDOW), 100, groups=("day",))
    close_bills(tenants, NOW)
    assert tenants.execute("SELECT DISTINCT zone FROM bill_chunk").fetchall() == [("Asia/Tokyo",)]
    assert usage(tenants.cursor(), Scope((1,), WINDOW), 100, groups=("day",)) == before


def test_nothing_is_closed_while_somebody_has_been_writing_for_long(
    tenants: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tenants, [bill_at(2 * 1440)])
    monkeypatch.setattr(rolled_up, "LONGEST_WRITING", timedelta(0))
    with psycopg.connect(database_url) as other:
        other.execute("DELETE FROM bill WHERE false")
        assert close_bills(tenants, NOW) == 0
    assert close_bills(tenants, NOW) > 0


def test_a_user_is_renamed_where_bills_are_added_up(tenants: Connection) -> None:
    write(tenants, [bill_at(2 * 1440), bill_at(1440, user_id="ben")])
    close_bills(tenants, NOW)
    with tenants.transaction():
        assert rename_user(tenants, 1, "ann", "erased-1") == 1
    assert tenants.execute("SELECT DISTINCT user_id FROM rollup_bill_user ORDER BY 1").fetchall() == [
        ("ben",), ("erased-1",)
    ]  # fmt: skip


def test_the_writer_marks_what_is_old(pg: Connection) -> None:
    commit(pg, call(start_ns=now_ns() - 86_400 * NS_PER_SECOND), call(start_ns=now_ns()))
    assert pg.execute("SELECT count(*) FROM bill_late").fetchone() == (1,)


@pytest.mark.parametrize(
    "groups",
    [
        ("day", "user", "model"), ("user", "hour"), ("tenant", "day"), ("month", "user"), ("user",), ("user", "tenant"),
        ("hour", "user", "tier"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("minutes", [211, 41])  # of few bills to a row, and of many
def test_pages_are_the_whole_in_order(tenants: Connection, groups: tuple[str, ...], minutes: int) -> None:
    times = range(7, DAYS * 1440 - 60, minutes)
    write(tenants, [
        bill_at(ago, tenant_id=1 + ago % 2, user_id=f"user-{ago % 5}", model=f"model-{ago % 3}") for ago in times
    ])  # fmt: skip
    close_bills(tenants, NOW)
    scope, cursor = Scope((1, 2), WINDOW), tenants.cursor()
    query, parameters = statement(scope, groups)
    whole = [read(row, len(groups)) for row in cursor.execute(query, parameters).fetchall()]
    found, mark, pages = [], "", 0
    while mark or not pages:
        rows, mark = usage(cursor, scope, 4, mark, groups)
        found += rows
        pages += 1
    assert found == whole
    assert sum(row.requests for row in found) == len(times)


@pytest.mark.parametrize("groups", [("user",), ("day", "user", "tier")])
def test_a_page_does_not_end_with_what_nothing_is_left_of(tenants: Connection, groups: tuple[str, ...]) -> None:
    nothing = {"requests": 0, "cost_nanousd": 0, "uncached_input_tokens": 0, "cache_read_input_tokens": 0,
               "cache_write_5m_input_tokens": 0, "cache_write_1h_input_tokens": 0, "output_tokens": 0}  # fmt: skip
    write(tenants, [bill_at(3 * 1440, user_id=f"user-{n:02}", **(nothing if n < 40 else {})) for n in range(48)])
    close_bills(tenants, NOW)
    rows, mark = usage(tenants.cursor(), Scope((1,), WINDOW), 4, "", groups)
    place = groups.index("user")
    assert [row.key[place] for row in rows] == ["user-40", "user-41", "user-42", "user-43"]
    rows, mark = usage(tenants.cursor(), Scope((1,), WINDOW), 4, mark, groups)
    assert ([row.key[place] for row in rows], mark) == (["user-44", "user-45", "user-46", "user-47"], "")


def test_the_dearest_that_cost_the_same_come_in_the_order_of_their_names(tenants: Connection) -> None:
    write(tenants, [bill_at(1440, user_id=name) for name in ("dan", "ann", "cat", "ben")])
    rows = dearest(tenants.cursor(), Scope((1,), WINDOW), ("user",), 3)
    assert [row.key for row in rows] == [("ann",), ("ben",), ("cat",)]


def test_days_that_are_over_have_an_index_by_user(tenants: Connection) -> None:
    write(tenants, [bill_at(ago) for ago in range(0, 3 * 1440, 60)])
    today = (NOW - timedelta(days=1)).date()
    made = index_users(tenants, today)
    assert made >= 2
    assert index_users(tenants, today) == 0
    found = tenants.execute("SELECT count(*) FROM pg_class WHERE relname ~ '^bill_[0-9]+_users$'").fetchone()
    assert found == (made,)
