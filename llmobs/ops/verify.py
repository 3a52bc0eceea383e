"""Verify: recompute from raw data what is kept as sums, and name every difference.

1. Each roll-up table with the pending deltas = the raw spans that it counts, dimension by dimension; its money and
   tokens = the bills; its sketches = the durations of the calls.
2. Trace totals = their spans. Users' days = their calls.
3. Each counted call with known usage has exactly one net bill, of its own figures; no other span has any; no bill is
   without its span. Each cost = usage × the rates of its price version, and with its adjustments by the newest;
   each re-pricing's own figure = its adjustments, of one that was undone nothing is left.
4. Each budget's durable spend = the bills of its window, from the window on in which the budget was counted.
5. Where a ledger is given and quiet: its base = the durable spend, nothing pending, nothing held; where nothing was
   spent, it has nothing.

Everything is read as of one moment (repeatable read), in sets, a tenant's raw data never row by row but for costs and
sketches. What retention has dropped is not compared: only days that still have raw spans.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import msgspec
from psycopg import IsolationLevel

from llmobs.budgets import definition
from llmobs.budgets.valkey import Client
from llmobs.core.ids import new_row_id
from llmobs.ops.difference import MOST_DIFFERENCES, Connection, Difference
from llmobs.ops.verify_money import bills, costs, ledger_bases, repriced, repricings, spend
from llmobs.ops.verify_sums import added_up_bills, rollup_bills, rollup_spans, sketches, traces, user_days
from llmobs.rollups import bills as rolled_up_bills
from llmobs.rollups.compact import DAY_TARGETS, TARGETS


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found."""

    started_at: datetime
    finished_at: datetime
    checked: dict[str, int]  # how much was compared, by check
    differences: list[Difference]


def verify(conn: Connection, client: Client | None = None) -> Report:
    """Recompute everything and compare. `conn` is in autocommit; `client` is the ledger's, if it should be compared."""
    started_at = datetime.now(UTC)
    checked: dict[str, int] = {}
    differences: list[Difference] = []
    before = conn.isolation_level
    conn.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        with conn.transaction():
            conn.execute("SET LOCAL work_mem = '64MB'")
            conn.execute("SET LOCAL TIME ZONE 'UTC'")
            for name, found in _checks(conn, client):
                checked[name] = checked.get(name, 0) + 1
                differences += found
    finally:
        conn.isolation_level = before
    return Report(started_at, datetime.now(UTC), checked, differences)


def keep(conn: Connection, report: Report) -> None:
    """Store a report, for `doctor` and the pages."""
    body = {"checked": report.checked, "differences": [asdict(d) for d in report.differences[:MOST_DIFFERENCES]]}
    conn.execute(
        "INSERT INTO verification (verification_id, started_at, finished_at, differences, report) "
        "VALUES (%s, %s, %s, %s, %s)",
        (
            new_row_id(),
            report.started_at,
            report.finished_at,
            len(report.differences),
            msgspec.json.encode(body).decode(),
        ),
    )


def _checks(conn: Connection, client: Client | None) -> Iterator[tuple[str, list[Difference]]]:
    for target in (*TARGETS, *DAY_TARGETS):
        yield f"{target.table} = spans", list(rollup_spans(conn, target))
        yield f"{target.table} = bills", list(rollup_bills(conn, target))
    for table in rolled_up_bills.TABLES:
        yield f"{table} = bills", list(added_up_bills(conn, table))
    yield "sketches = durations", list(sketches(conn))
    yield "rollup_user_day = spans", list(user_days(conn))
    yield "trace = spans", list(traces(conn))
    yield "bill = span", list(bills(conn))
    yield "cost = usage × price", list(costs(conn))
    yield "re-priced = usage × price", list(repriced(conn))
    yield "re-pricing = adjustments", list(repricings(conn))
    budgets = definition.load(conn)
    yield "budget_spend = bills", list(spend(conn, budgets))
    if client is not None:
        yield "ledger = budget_spend", list(ledger_bases(conn, client, budgets))
