"""Partitions are made once, dropped whole when no tenant keeps them, and deleted from for tenants that keep less."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg

from llmobs.ops.verify import verify
from llmobs.rollups import retention as rollup_retention
from llmobs.rollups.compact import compact_all
from llmobs.spans.partitions import DAY_TABLES, existing_days, make_ahead, make_partitions
from llmobs.spans.retention import delete_expired, drop_days
from tests.ingest.making import START_NS, call, commit, make_tenant

Connection = psycopg.Connection[Any]
DAY_NS = 86_400 * 10**9
OLD = date(2031, 1, 1)


def today() -> date:
    return datetime.now(UTC).date()


def test_making_partitions_again_changes_nothing(pg: Connection) -> None:
    for _ in range(2):
        with pg.transaction():
            make_partitions(pg, {OLD, OLD + timedelta(days=1)})
    assert all({OLD, OLD + timedelta(days=1)} <= existing_days(pg, table) for table in DAY_TABLES)
    make_ahead(pg, OLD)
    assert OLD + timedelta(days=3) in existing_days(pg)


def test_days_that_nobody_keeps_are_dropped_and_bills_stay(pg: Connection) -> None:
    make_tenant(pg)
    commit(pg, call(), call(start_ns=START_NS - 401 * DAY_NS))
    assert drop_days(pg, today()) > 0
    assert pg.execute("SELECT count(*) FROM span").fetchone() == (1,)
    assert pg.execute("SELECT count(*) FROM bill").fetchone() == (2,)
    assert verify(pg).differences == []


def test_a_tenant_that_keeps_less_loses_its_own_alone(pg: Connection) -> None:
    make_tenant(pg)
    make_tenant(pg, 2)
    pg.execute("UPDATE tenants_tenant SET retention_days = 3 WHERE id = 2")
    old = START_NS - 6 * DAY_NS
    commit(pg, call(start_ns=old), call(2, start_ns=old), call(2))
    compact_all(pg)
    assert delete_expired(pg, today()) > 0
    assert rollup_retention.delete_expired(pg, today()) > 0
    rows = pg.execute("SELECT tenant_id, count(*) FROM span GROUP BY 1 ORDER BY 1").fetchall()
    assert rows == [(1, 1), (2, 1)]
    assert pg.execute("SELECT count(*) FROM claim WHERE tenant_id = 2").fetchone() == (1,)
    assert verify(pg).differences == []
