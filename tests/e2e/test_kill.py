"""Every process is killed in turn while traffic flows; afterwards nothing is lost, doubled or overspent."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import psutil
import psycopg
import redis

from llmobs.core.money import parse_usd
from tests.e2e.conftest import Platform, wait_until
from tests.e2e.traffic import Traffic

KINDS = ("gateway", "writer", "worker", "beat", "web", "valkey", "gateway", "postgres", "writer", "valkey")
BETWEEN = 40  # answers between one kill and the next

BILLS = """
SELECT response_id, sum(requests), sum(uncached_input_tokens + cache_read_input_tokens + cache_write_5m_input_tokens
       + cache_write_1h_input_tokens), sum(output_tokens), sum(cost_nanousd), bool_or(kind = 'measured')
FROM bill WHERE tenant_id = (SELECT id FROM tenants_tenant WHERE slug = 'acme') AND response_id <> ''
GROUP BY response_id
"""


def test_nothing_is_lost_or_counted_twice_when_each_process_is_killed_in_turn(platform: Platform) -> None:
    with Traffic(platform.gateway_url, platform.key) as traffic:
        traffic.wait_answers(BETWEEN)
        for kind in KINDS:
            for pid in platform.pids(kind):
                os.kill(pid, signal.SIGKILL)
            traffic.wait_answers(BETWEEN, 60)
    _everything_adds_up(platform, traffic)


def test_calls_go_on_while_postgresql_is_away_for_ten_seconds(platform: Platform) -> None:
    with Traffic(platform.gateway_url, platform.key) as traffic:
        traffic.wait_answers(BETWEEN)
        with stopped(platform.pids("postgres")):
            until = time.monotonic() + 10
            while time.monotonic() < until:
                traffic.wait_answers(BETWEEN)
        traffic.wait_answers(BETWEEN)
    assert set(traffic.outcomes.statuses) == {200}
    _everything_adds_up(platform, traffic)


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """These processes and their children stand still: worse than gone, for nothing tells their clients."""
    every = [pid for parent in pids for pid in (parent, *(c.pid for c in psutil.Process(parent).children()))]
    for pid in every:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in every:
            os.kill(pid, signal.SIGCONT)


def _everything_adds_up(platform: Platform, traffic: Traffic) -> None:
    wait_written(platform)
    verified = platform.manage("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    theirs = platform.provider.bill.as_dict(with_detail=True)
    with psycopg.connect(platform.database_url, autocommit=True) as conn:
        _answered_calls_are_billed_as_the_provider_billed_them(conn, traffic, theirs)
        _the_rest_is_estimated_and_never_below(conn, theirs)
        _budgets_are_the_sum_of_bills(conn)
    assert held(platform) == 0


def wait_written(platform: Platform) -> None:
    """Until the journals are read to their ends and no owner that died has calls open."""
    with psycopg.connect(platform.database_url, autocommit=True) as conn:

        def is_quiet() -> bool:
            # Each writer says what waits in its share; who comes after one that was killed speaks under its name. Those
            # of a host that is gone say for ever what waited then.
            sql = (
                "SELECT max(waiting_spans) FROM heartbeat WHERE kind = 'writer' AND seen_at > now() - interval '1 min'"
            )
            return conn.execute(sql).fetchone() == (0,) and held(platform) == 0

        wait_until(is_quiet, 240, "the journals are written and nothing is held")


def held(platform: Platform) -> int:
    """Nano-USD that the ledger holds or has pending, over all budgets."""
    total = 0
    with redis.Redis.from_url(platform.valkey_url) as client:
        for key in client.scan_iter("ledger:{*"):
            if client.type(key) == b"hash":
                total += sum(int(amount or 0) for amount in client.hmget(key, "held", "pending"))
    return total


def _answered_calls_are_billed_as_the_provider_billed_them(
    conn: psycopg.Connection[Any], traffic: Traffic, theirs: dict[str, Any]
) -> None:
    bills = {row[0]: row[1:] for row in conn.execute(BILLS).fetchall()}
    for answer in traffic.outcomes.answered:
        sent = theirs["responses"][answer.response_id]
        expected = (1, sent["input_tokens"], sent["output_tokens"], parse_usd(sent["cost_usd"]), True)
        assert bills[answer.response_id] == expected, answer
        if answer.cost_usd:
            assert parse_usd(answer.cost_usd) == expected[3]


def _the_rest_is_estimated_and_never_below(conn: psycopg.Connection[Any], theirs: dict[str, Any]) -> None:
    rows = conn.execute("SELECT kind, sum(requests), sum(cost_nanousd) FROM bill GROUP BY kind").fetchall()
    assert {kind for kind, _, _ in rows} <= {"measured", "estimated", "abandoned", "reversal"}
    ours = sum(Decimal(cost) for _, _, cost in rows)
    assert ours >= parse_usd(theirs["cost_usd"])
    assert sum(requests for _, requests, _ in rows) >= theirs["requests"]


def _budgets_are_the_sum_of_bills(conn: psycopg.Connection[Any]) -> None:
    spent = conn.execute(
        "SELECT s.spent FROM budget_spend s JOIN budgets_budget b ON b.id = s.budget_id WHERE b.name = 'ever'"
    ).fetchall()
    billed = conn.execute("SELECT sum(cost_nanousd) FROM bill").fetchone()
    assert billed is not None
    assert [int(row[0]) for row in spent] == [int(billed[0])]
