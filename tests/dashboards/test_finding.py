"""Traces by filters that no order leads to: the same ones with and without the index of words, page by page."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from dashboards.queries import finding
from dashboards.queries.scope import Filters, Scope
from dashboards.queries.traces import newest_of, outcomes_by_bucket, traces
from dashboards.window import Window
from llmobs.core.clock import NS_PER_SECOND
from llmobs.rollups.compact import compact_all
from llmobs.spans.words import index_days, indexed_days
from llmobs.tenants.attribution import Attribution
from tests.ingest.making import START_NS, call, commit
from tests.rollups.test_days import NOW

Connection = psycopg.Connection[Any]
WINDOW = Window(NOW - timedelta(days=6), NOW + timedelta(minutes=1), ZoneInfo("UTC"))
FILTERS: list[dict[str, Any]] = [
    {"service": "rare"},
    {"provider": "anthropic"},
    {"key": 12},
    {"error": "RateLimitError"},
    {"model": "claude-haiku-4-5"},
    {"feature": "refunds"},
    {"environment": "staging"},
    {"status": "degraded"},
    {"status": "failed", "service": "rare"},
    {"provider": "anthropic", "feature": "refunds"},
    {"search": "refund"},
    {"search": "gpt-4o-mini"},
    {"search": "REFU /order"},
    {"search": "no such"},
    {"service": "none"},
    {"status": "failed"},
    {"error": "RateLimitError", "provider": "anthropic"},
]


def asked(text: str) -> str:
    return f'[{{"role":"user","parts":[{{"type":"text","content":"{text}"}}]}}]'


@pytest.fixture
def written(pg: Connection) -> Connection:
    """Sixty calls over five days: every seventh is in some way rare; and the same of a stranger."""
    for day in indexed_days(pg):  # partitions outlive a test, and their indexes with them
        pg.execute(f"DROP INDEX span_{day:%Y%m%d}_words")
    for tenant_id in (1, 2):
        commit(pg, *(_call(tenant_id, n) for n in range(60)))
    compact_all(pg)
    return pg


def _call(tenant_id: int, n: int) -> Any:
    is_rare, is_failed = n % 7 == 0, n % 11 == 0
    return call(
        tenant_id,
        start_ns=START_NS - n * 2 * 3600 * NS_PER_SECOND,
        duration_ns=(n + 1) * 10**7,
        attribution=Attribution(
            "rare" if is_rare else "shop", "staging" if is_rare else "production", "refunds" if n % 6 == 0 else "chat",
            f"user-{n}", "", 12 if is_rare else 7,
        ),
        provider_name="anthropic" if is_rare else "openai",
        request_model="claude-haiku-4-5" if is_rare else "gpt-4o-mini",
        name="chat claude-haiku-4-5" if is_rare else "chat gpt-4o-mini",
        status="failed" if is_failed else "degraded" if n % 13 == 0 else "ok",
        error_type="RateLimitError" if is_failed else "",
        input=asked("Refunds of order/4711, please" if n % 9 == 0 else "hello"),
    )  # fmt: skip


def found(
    conn: Connection, sort: str = "start", tenant_id: int = 1, bounds: dict[str, Any] | None = None, **given: Any
) -> list[str]:
    """Ids over all pages of three rows."""
    ids: list[str] = []
    after = None
    while True:
        page = traces(
            conn.cursor(), Scope((tenant_id,), WINDOW, Filters(**given)), sort, after, limit=3, **(bounds or {})
        )
        ids += [row.trace_id for row in page.rows]
        if page.older is None:
            return ids
        after = page.older


def expected(given: dict[str, Any], sort: str) -> list[str]:
    numbers = [n for n in range(60) if _passes(n, given)]
    return [str(n) for n in (numbers if sort == "start" else reversed(numbers))]


def _passes(n: int, given: dict[str, Any]) -> bool:
    is_rare, is_failed = n % 7 == 0, n % 11 == 0
    status = "failed" if is_failed else "degraded" if n % 13 == 0 else "ok"
    has = {
        "service": "rare" if is_rare else "shop", "environment": "staging" if is_rare else "production",
        "feature": "refunds" if n % 6 == 0 else "chat", "key": 12 if is_rare else 7, "status": status,
        "provider": "anthropic" if is_rare else "openai", "error": "RateLimitError" if is_failed else "",
        "model": "claude-haiku-4-5" if is_rare else "gpt-4o-mini",
    }  # fmt: skip
    words = {"refund": n % 9 == 0, "gpt-4o-mini": not is_rare, "REFU /order": n % 9 == 0, "no such": False}
    return all(words[value] if name == "search" else has[name] == value for name, value in given.items())


def numbered(conn: Connection, ids: list[str]) -> list[str]:
    users = {bytes(row[0]).hex(): row[1] for row in conn.execute("SELECT trace_id, user_id FROM trace")}
    return [users[each].removeprefix("user-") for each in ids]


@pytest.mark.parametrize("sort", ["start", "duration"])
@pytest.mark.parametrize("given", FILTERS, ids=str)
@pytest.mark.parametrize("is_indexed", [False, True])
def test_pages_hold_each_trace_that_passes_once_in_order(
    written: Connection, given: dict[str, Any], sort: str, is_indexed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "WALKED", 4)  # as if these were far too many to look at each
    monkeypatch.setattr(finding, "WALKED_FAILED", 4)
    monkeypatch.setattr(finding, "WALKED_FAR", 8)
    if is_indexed:
        assert index_days(written, NOW.date()) >= 5
    assert numbered(written, found(written, sort, **given)) == expected(given, sort)


@pytest.mark.parametrize("given", [{}, {"service": "rare"}, {"status": "failed"}, {"user": "user-44"}], ids=str)
@pytest.mark.parametrize("sort", ["start", "duration", "cost"])
@pytest.mark.parametrize("most", [2, 1_000])
def test_bounds_of_cost_and_duration_hold_whichever_way_is_gone(
    written: Connection, given: dict[str, Any], sort: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls have durations of 10 ms to 600 ms, and all of them cost something."""
    monkeypatch.setattr(finding, "WALKED", 4)
    monkeypatch.setattr(finding, "WALKED_BOUND", most)
    beyond = {str(n) for n in range(60) if n >= 39 and _passes(n, {k: v for k, v in given.items() if k != "user"})}
    beyond &= {"44"} if "user" in given else beyond
    for bounds in ({"min_duration_ms": 400}, {"min_duration_ms": 400, "min_cost_nanousd": 1}):
        assert sorted(numbered(written, found(written, sort, bounds=bounds, **given))) == sorted(beyond)
    assert found(written, sort, bounds={"min_duration_ms": 400, "min_cost_nanousd": 10**15}, **given) == []


@pytest.mark.parametrize("given", [{}, {"service": "rare"}, {"status": "failed"}, {"search": "refund"}], ids=str)
@pytest.mark.parametrize("most", [2, 1_000])
def test_a_short_time_is_put_in_order_whether_few_or_many_began_in_it(
    written: Connection, given: dict[str, Any], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "WALKED", 4)
    monkeypatch.setattr(finding, "SHORT", WINDOW.length)
    monkeypatch.setattr(finding, "WALKED_BOUND", most)
    assert numbered(written, found(written, "duration", **given)) == expected(given, "duration")


def test_in_another_order_than_time_spans_that_are_not_all_do_not_hide_dearer_ones(
    written: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WALKED", 4), ("WALKED_FAILED", 4), ("MOST_CANDIDATES", 4)):
        monkeypatch.setattr(finding, name, value)
    assert numbered(written, found(written, "duration", service="rare")) == expected({"service": "rare"}, "duration")


def test_a_stranger_finds_only_their_own(written: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "WALKED", 4)
    index_days(written, NOW.date())
    own, other = (set(found(written, tenant_id=tenant, search="refund")) for tenant in (1, 2))
    assert own
    assert other
    assert not own & other
    assert found(written, tenant_id=3, search="refund") == []


def test_a_common_value_is_found_by_looking_and_a_rare_one_in_few_statements(
    written: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PAINS 36: the number of statements does not grow with the rows."""
    index_days(written, NOW.date())
    assert statements(written, service="shop") == 2
    monkeypatch.setattr(finding, "WALKED", 4)
    assert statements(written, service="rare") <= 7
    assert statements(written, service="none") <= 6


def statements(conn: Connection, **given: Any) -> int:
    class Counting:
        def __init__(self) -> None:
            self.cursor, self.asked = conn.cursor(), 0

        def execute(self, query: Any, params: Any = None) -> Any:
            self.asked += 1
            return self.cursor.execute(query, params)

        def fetchall(self) -> list[Any]:
            return self.cursor.fetchall()

        def fetchone(self) -> Any:
            return self.cursor.fetchone()

    counting = Counting()
    traces(counting, Scope((1,), WINDOW, Filters(**given)))
    return counting.asked


def test_an_index_that_broke_off_is_made_again(written: Connection) -> None:
    index_days(written, NOW.date())
    day = max(indexed_days(written))
    assert index_days(written, NOW.date()) == 0
    written.execute(f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'span_{day:%Y%m%d}_words'::regclass")
    assert day not in indexed_days(written)
    assert index_days(written, NOW.date()) == 1
    assert day in indexed_days(written)


def test_words_of_today_are_looked_for_in_the_newest_spans_and_it_says_so(
    written: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "WALKED", 4)
    monkeypatch.setattr(finding, "MOST_SCANNED", 5)
    page = traces(written.cursor(), Scope((1,), WINDOW, Filters(search="refund")))
    assert isinstance(page.unsearched, datetime)
    index_days(written, (NOW + timedelta(days=1)).date())
    assert traces(written.cursor(), Scope((1,), WINDOW, Filters(search="refund"))).unsearched is None


@pytest.mark.parametrize("given", FILTERS, ids=str)
@pytest.mark.parametrize("has_index", [False, True])
def test_a_page_of_what_was_found_for_its_outcomes_is_the_page(
    written: Connection, given: dict[str, Any], has_index: bool
) -> None:
    if has_index:
        index_days(written, NOW.date() + timedelta(days=1))
    scope = Scope((1,), WINDOW, Filters(**given))
    both = newest_of(written.cursor(), scope)

    page = traces(written.cursor(), scope, limit=4, newest=both)

    assert page == traces(written.cursor(), scope, limit=4)
    assert outcomes_by_bucket(written.cursor(), scope, both) == outcomes_by_bucket(written.cursor(), scope)
