"""Days that are over are added up once; what comes late reaches them; readers see the same sums as before."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from dashboards.queries.rollup import latencies, totals
from dashboards.queries.scope import Filters, Scope
from dashboards.window import DAY, HOUR, Window
from llmobs.core.clock import NS_PER_SECOND
from llmobs.ops.verify import verify
from llmobs.rollups.compact import compact_all
from llmobs.rollups.days import close_days
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution
from tests.ingest.making import START_NS, call, commit

Connection = psycopg.Connection[Any]
NOW = datetime.fromtimestamp(START_NS // NS_PER_SECOND, UTC)
QUESTIONS: list[tuple[tuple[str, ...], dict[str, Any], bool, timedelta | None]] = [
    ((), {}, False, None),
    ((), {}, True, DAY),
    ((), {}, True, HOUR),
    (("feature",), {}, True, DAY),
    (("feature", "key"), {}, False, None),
    (("error", "provider"), {}, False, None),
    (("model",), {"feature": "feature-2"}, True, DAY),
]


def some_days(days: int) -> list[Span]:
    return [
        call(
            start_ns=START_NS - n * 5 * 3600 * NS_PER_SECOND,
            duration_ns=(n + 1) * 10**7,
            attribution=Attribution("shop", "production", f"feature-{n % 3}", f"user-{n % 4}", "", 7),
            status="failed" if n % 5 == 0 else "ok",
            error_type="RateLimitError" if n % 5 == 0 else "",
        )
        for n in range(days * 24 // 5)
    ]


def answers(conn: Connection, zone: str) -> list[Any]:
    found: list[Any] = []
    window = Window(NOW - timedelta(days=9, hours=7), NOW + timedelta(minutes=1), ZoneInfo(zone))
    for by, given, over_time, bucket in QUESTIONS:
        scope = Scope((1,), window, Filters(**given))
        found.append(sorted(map(repr, totals(conn.cursor(), scope, by, over_time, bucket))))
        sketches = latencies(conn.cursor(), scope, by, over_time, bucket=bucket)
        found.append(sorted(repr((row.key, row.at, sorted(row.counts.items()))) for row in sketches))
    return found


@pytest.fixture
def written(pg: Connection) -> Connection:
    pg.execute(
        "INSERT INTO tenants_tenant (id, slug, name, plan, content, time_zone, retention_days, is_active, created_at) "
        "VALUES (1, 'acme', 'Acme', 'none', 'full', 'UTC', 400, true, now())"
    )
    commit(pg, *some_days(9))
    compact_all(pg)
    return pg


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_readers_find_the_same_before_and_after_days_are_closed(written: Connection, zone: str) -> None:
    before = answers(written, zone)
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    first = written.execute("SELECT min(hour) FROM rollup_hour").fetchone()
    assert first is not None
    # The last one ended more than an hour ago, or waits.
    over = midnight if NOW - midnight >= timedelta(hours=1) else midnight - DAY
    assert close_days(written, NOW) == (over - first[0].astimezone(UTC).replace(hour=0)).days
    assert answers(written, zone) == before
    assert close_days(written, NOW) == 0


def test_a_call_that_comes_late_is_in_its_day(written: Connection) -> None:
    close_days(written, NOW)
    before = answers(written, "UTC")
    commit(written, call(start_ns=START_NS - 3 * 86_400 * NS_PER_SECOND, attribution=Attribution(feature="late")))
    waiting = answers(written, "UTC")
    assert waiting != before
    compact_all(written)
    assert answers(written, "UTC") == waiting
    assert verify(written).differences == []


def test_a_day_is_closed_an_hour_after_midnight(written: Connection) -> None:
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    close_days(written, midnight + timedelta(minutes=59))
    assert written.execute("SELECT until FROM rollup_closed").fetchone() == (midnight - DAY,)
    close_days(written, midnight + timedelta(minutes=61))
    assert written.execute("SELECT until FROM rollup_closed").fetchone() == (midnight,)


def test_without_calls_there_is_nothing_to_close(pg: Connection) -> None:
    assert close_days(pg, NOW) == 0
