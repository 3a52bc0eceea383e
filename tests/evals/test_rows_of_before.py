"""Judgements and scores that were there before they kept the rules of large tables stay, on the way there and back."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.ingest.making import make_tenant
from tests.spans.test_rows_of_before import database, migrate
from tests.stores import Stores

Connection = psycopg.Connection[Any]
NAME = "llmobs_evals_before"
BEFORE, AFTER = repr([("evals", "0001_initial")]), repr([("evals", "0002_sharded_by_tenant")])
JUDGE = """
WITH k AS (
    INSERT INTO tenants_key (tenant_id, name, prefix, secret_hash, service, environment, feature, allowed_models,
                             criticality, cache, unpriced, created_at)
    VALUES (1, 'prod', 'p', 'h', '', '', '', '[]', 'realtime', 'off', 'refuse', now()) RETURNING id)
INSERT INTO evals_judge (name, tenant_id, feature, model, key_id, sample, criteria, is_enabled, created_at)
SELECT 'helpful', 1, '', 'gpt-4o-mini', id, 1, '["c"]', true, now() FROM k RETURNING id
"""
# As hosts of before write: without an id.
JUDGED = """
INSERT INTO evals_judgement (judge_id, tenant_id, trace_id, span_id, start, state, reason, attempts, created_at)
VALUES (%s, 1, %s, %s, now(), 'done', '', 1, now()) ON CONFLICT DO NOTHING RETURNING id
"""
SCORED = """
INSERT INTO evals_score (tenant_id, trace_id, name, label, comment, details, source, created_at, judge_id)
VALUES (1, %s, 'helpful', 'PASS', '', '{}', 'judge', now(), %s) RETURNING id
"""
ROWS = """
SELECT id, trace_id, judge_id FROM evals_judgement WHERE tenant_id = 1
UNION ALL SELECT id, trace_id, judge_id FROM evals_score WHERE tenant_id = 1 ORDER BY 1, 2
"""
TRACES = (b"1" * 16, b"2" * 16)


@pytest.fixture
def url(pg: Connection, stores: Stores) -> Iterator[str]:
    with database(pg, stores, NAME) as found:
        yield found


def made(conn: Connection, query: str, *values: Any) -> Any:
    """What the one row that is made says; None where there is none."""
    row = conn.execute(query, values).fetchone()
    return row[0] if row else None


def test_rows_keep_their_ids_and_hosts_that_have_yet_to_follow_go_on(url: str) -> None:
    migrate(url, BEFORE)
    with psycopg.connect(url, autocommit=True) as conn:
        make_tenant(conn)
        judge = made(conn, JUDGE)
        for trace_id in TRACES:
            made(conn, JUDGED, judge, trace_id, trace_id[:8])
            made(conn, SCORED, trace_id, judge)
        before = conn.execute(ROWS).fetchall()
        assert len(before) == 4

        migrate(url, AFTER)
        assert conn.execute(ROWS).fetchall() == before
        assert made(conn, JUDGED, judge, TRACES[0], TRACES[0][:8]) is None
        ids = [made(conn, JUDGED, judge, TRACES[0], b"another!"), made(conn, SCORED, TRACES[0], judge)]
        assert min(ids) > 2**60  # of this decade's milliseconds, above 22 bits

        migrate(url, BEFORE)
        assert len(conn.execute(ROWS).fetchall()) == 6
        newest = made(conn, SCORED, TRACES[1], judge)
        assert newest == ids[1] + 1  # counted on, from the highest
        with pytest.raises(errors.ForeignKeyViolation):
            made(conn, SCORED, TRACES[1], judge + 1)
        migrate(url, AFTER)
        assert len(conn.execute(ROWS).fetchall()) == 7
