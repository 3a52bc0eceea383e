"""Days that nobody keeps go whole, tenants that keep less lose their own alone, and what went is told."""

import threading
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from dashboards.queries.scope import Scope
from dashboards.queries.usage import usage_total
from dashboards.window import Window
from llmobs.core.clock import utc_from_ns
from llmobs.keeping import letting_go
from llmobs.keeping.horizons import BILLS, CONTENT, MINUTES, ROLLUPS, SPANS, Horizon
from llmobs.keeping.letting_go import figures, is_archived
from llmobs.ops.verify import verify
from llmobs.rollups.compact import compact_all
from llmobs.spans.partitions import existing_days, partition_name
from tests.ingest.making import START_NS, call, commit, make_tenant
from tests.keeping.letting import DAY_NS, Connection, count, run, today

OLD_NS = START_NS - 6 * DAY_NS


def set_days(pg: Connection, tenant_id: int = 1, **days: int | None) -> None:
    for name, value in days.items():
        pg.execute(f"UPDATE tenants_tenant SET {name} = %s WHERE id = %s", (value, tenant_id))


def test_days_that_nobody_keeps_are_dropped_and_bills_stay(pg: Connection) -> None:
    make_tenant(pg)
    commit(pg, call(), call(start_ns=START_NS - 401 * DAY_NS))
    assert run(pg).partitions == 4
    assert (count(pg, "span"), count(pg, "trace"), count(pg, "payload_block"), count(pg, "bill")) == (1, 1, 1, 2)
    assert count(pg, "claim") == 1
    assert verify(pg).differences == []
    assert run(pg).rows == {}


def test_a_tenant_that_keeps_less_loses_its_own_alone(pg: Connection) -> None:
    make_tenant(pg)
    make_tenant(pg, 2)
    set_days(pg, 2, retention_days=3)
    run(pg)  # days that nobody has anything of go whole
    commit(pg, call(start_ns=OLD_NS), call(2, start_ns=OLD_NS), call(2))
    compact_all(pg)
    gone = run(pg)
    assert gone.partitions == 0
    assert gone.rows["span"] == 1
    assert gone.rows["rollup_hour"] == 1
    assert pg.execute("SELECT tenant_id, count(*) FROM span GROUP BY 1 ORDER BY 1").fetchall() == [(1, 1), (2, 1)]
    assert count(pg, "claim", "tenant_id = 2") == 1
    assert verify(pg).differences == []


def test_content_goes_earlier_and_its_spans_stay(pg: Connection) -> None:
    make_tenant(pg)
    make_tenant(pg, 2)
    set_days(pg, content_retention_days=3)
    run(pg)
    commit(pg, call(start_ns=OLD_NS), call(), call(2, start_ns=OLD_NS))
    assert run(pg).partitions == 0
    assert (count(pg, "span"), count(pg, "payload_block", "tenant_id = 1")) == (3, 1)
    assert count(pg, "payload_block", "tenant_id = 2") == 1
    assert count(pg, "span", "preview = '' AND tenant_id = 1") == 1
    set_days(pg, 2, content_retention_days=3)
    assert run(pg).partitions == 1
    assert count(pg, "span", "preview <> ''") == 1
    assert verify(pg).differences == []


def test_rollups_may_stay_longer_than_spans_or_go_sooner(pg: Connection) -> None:
    make_tenant(pg)
    set_days(pg, retention_days=3, rollup_retention_days=100)
    commit(pg, call(start_ns=OLD_NS), call())
    compact_all(pg)
    run(pg)
    assert (count(pg, "span"), count(pg, "rollup_hour")) == (1, 2)
    assert verify(pg).differences == []
    set_days(pg, retention_days=100, rollup_retention_days=3)
    run(pg)
    assert count(pg, "rollup_hour") == 1
    assert verify(pg).differences == []


def test_bills_go_only_where_a_setting_says_so(pg: Connection) -> None:
    make_tenant(pg)
    set_days(pg, retention_days=3, bill_retention_days=5)
    commit(pg, call(start_ns=OLD_NS), call(start_ns=START_NS - 4 * DAY_NS), call())
    run(pg)
    assert count(pg, "bill") == 2
    assert verify(pg).differences == []


def test_what_was_spent_is_told_of_days_whose_rollups_have_gone(pg: Connection) -> None:
    make_tenant(pg)
    commit(pg, call(start_ns=OLD_NS), call())
    compact_all(pg)
    scope = Scope((1,), Window(utc_from_ns(OLD_NS - DAY_NS), utc_from_ns(START_NS + DAY_NS), ZoneInfo("UTC")))
    before = usage_total(pg.cursor(), scope)
    assert before.requests == 2
    set_days(pg, retention_days=3, rollup_retention_days=3)
    run(pg)
    assert (count(pg, "rollup_hour"), count(pg, "span")) == (1, 1)
    assert usage_total(pg.cursor(), scope) == before


def test_archives_hold_spans_and_content_alone() -> None:
    full = Horizon(1, "acme", "full", {})
    assert {kind for kind in (CONTENT, SPANS, ROLLUPS, MINUTES, BILLS) if is_archived(full, kind)} == {CONTENT, SPANS}


def test_a_longer_retention_brings_nothing_back_and_verify_knows(pg: Connection) -> None:
    make_tenant(pg)
    set_days(pg, retention_days=3)
    commit(pg, call(start_ns=OLD_NS), call())
    run(pg)
    set_days(pg, retention_days=400)
    assert verify(pg).differences == []


def test_what_went_is_counted_by_tenant_kind_and_day(pg: Connection) -> None:
    make_tenant(pg)
    make_tenant(pg, 2)
    set_days(pg, retention_days=3)
    commit(pg, *(call(start_ns=OLD_NS) for _ in range(3)), call(2))
    run(pg)
    found = {kind: (days, rows, size > 0) for _, kind, days, rows, size, _ in figures(pg, [1], today())}
    assert found["spans"] == (1, 6, True)  # three spans, three traces, dropped whole
    assert found["content"] == (1, 1, True)
    assert found["claim"] == (1, 3, False)
    assert list(figures(pg, [2], today())) == []
    assert count(pg, "let_go", "done_at IS NULL") == 0


@pytest.mark.parametrize("step", ["detached", "noted"])
def test_a_run_that_was_killed_is_finished_by_the_next(
    pg: Connection, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tenant(pg)
    set_days(pg, retention_days=3)
    commit(pg, call(start_ns=OLD_NS), call())

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(letting_go, "_drop_table" if step == "detached" else "_detach", killed)
    with pytest.raises(KeyboardInterrupt):
        run(pg)
    monkeypatch.undo()
    run(pg)
    day = today() - timedelta(days=6)
    left = [partition_name(table, day) for table in ("span", "trace", "payload_block")]
    assert count(pg, "pg_class", f"relname IN {tuple(left)}") == 0
    assert day not in existing_days(pg)
    assert count(pg, "let_go", "done_at IS NULL") == 0
    assert count(pg, "let_go", "kind = 'spans' AND rows = 2") == 1
    assert verify(pg).differences == []


def test_a_partition_that_is_in_use_waits_and_keeps_nobody_waiting(
    pg: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tenant(pg)
    set_days(pg, retention_days=3)
    commit(pg, call(start_ns=OLD_NS), call())
    monkeypatch.setattr(letting_go, "LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(letting_go, "DETACH_TIMEOUT", "100ms")
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT count(*) FROM span")
        assert "in use" in run(pg).waiting[0]
        assert reader.execute("SELECT count(*) FROM span").fetchone() is not None
    assert run(pg).waiting == []
    assert count(pg, "span") == 1


def test_a_writer_never_waits_for_longer_than_a_second_behind_a_partition_that_is_in_use(
    pg: Connection, database_url: str
) -> None:
    make_tenant(pg)
    set_days(pg, retention_days=3)
    commit(pg, call(start_ns=OLD_NS), call())
    pg.execute("SET lock_timeout = '3s'")  # a second, and what a busy machine adds
    with psycopg.connect(database_url) as reader, psycopg.connect(database_url, autocommit=True) as keeper:
        reader.execute("SELECT count(*) FROM span")
        waiting: list[str] = []
        letting = threading.Thread(target=lambda: waiting.extend(run(keeper).waiting))
        letting.start()
        written = 0
        while letting.is_alive():
            commit(pg, call())
            written += 1
        letting.join()
        assert "in use" in waiting[0]
    assert written > 1
    assert run(pg).waiting == []
    assert count(pg, "span") == 1 + written
    assert verify(pg).differences == []


def test_spans_that_were_taken_before_their_day_went_go_with_it_at_the_next_run(pg: Connection) -> None:
    """What is sent later is refused at the door, with its reason (`otlp/test_check`)."""
    make_tenant(pg)
    set_days(pg, retention_days=3)
    commit(pg, call(start_ns=OLD_NS))
    run(pg)
    commit(pg, call(start_ns=OLD_NS))
    assert run(pg).partitions > 0
    assert count(pg, "span") == 0
    assert verify(pg).differences == []
