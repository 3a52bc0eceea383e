"""A platform's database filled with N spans over 30 days by the real trace's pattern, for `queries.py` to ask.

`python -m tests.bench scale --spans 10000000 --keep DIR` (without --keep it is measured, verified and thrown away).
`--no-content`: neither blocks nor attributes, first words on one span in fifty, so that more of them fit on a disk.

1. A migrated database in a folder, five tenants, an operator with a key, budgets, prices, the trace as `shape`.
2. Day by day, each in one transaction, several beside each other (`--workers`): spans, traces, bills, claims, users'
   days and roll-ups, into tables that are attached as partitions once they are full (indexes are then built by sorting,
   several times faster than row by row).
3. Days that are over get their roll-ups of days, bills added up and their index of words, as the worker makes them.
4. `--verify` runs `manage.py verify`'s checks: what is made ties as if the writer had written it.
"""

import argparse
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from random import Random
from typing import Any

import psycopg

from llmobs.budgets.spend import count_new_budgets
from llmobs.core.clock import ns_from_utc
from llmobs.core.env import Place
from llmobs.ops.child import spawn
from llmobs.ops.demo.backfill import DAY_SHAPE, WEEKEND_PART
from llmobs.ops.demo.trace import read_trace
from llmobs.ops.embedded_postgres import EmbeddedPostgres
from llmobs.ops.verify import verify
from llmobs.pricing.book import PriceBook
from llmobs.pricing.versions import remember
from llmobs.rollups.bills import close_bills, index_users
from llmobs.rollups.compact import TARGETS, target
from llmobs.rollups.days import close_days
from llmobs.spans.blocks import make_block
from llmobs.spans.partitions import existing_days, partition_name
from llmobs.spans.words import index_days
from llmobs.tenants.keys import secret_hash
from tests.bench import scale_sql as made
from tests.bench.machine import manage

DAYS = 30
SPANS_PER_TRACE = 3.85  # by the shares in `scale_sql.MADE`
# provider, model, ms a token, weight; the last has no price
MODELS = (
    ("openai", "gpt-4o", 14.0, 5), ("openai", "gpt-4o-mini", 9.0, 8), ("anthropic", "claude-haiku-4-5", 8.0, 4),
    ("anthropic", "claude-sonnet-4-5", 16.0, 2), ("in-house", "in-house-7b", 11.0, 1),
)  # fmt: skip
TENANTS = ("atlas", "forge", "harbor", "meadow", "orchid")
FILLING = {
    "fsync": "off", "synchronous_commit": "off", "wal_level": "minimal", "max_wal_senders": "0", "autovacuum": "off",
    "max_wal_size": "4GB", "checkpoint_timeout": "30min",
}  # fmt: skip
LIKE = "INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING CONSTRAINTS INCLUDING GENERATED"  # no indexes yet
USERS = 5_000  # of each tenant
VOCABULARY, SENTENCES = 8_000, 5_000
SYLLABLES = ("ba", "co", "di", "fu", "ga", "he", "ki", "lo", "mu", "ne", "po", "ri", "sa", "tu", "ve", "zo")


@contextmanager
def database(folder: Path) -> Iterator[str]:
    """A migrated database in a folder; ended with the block."""
    place = Place(folder)
    place.make()
    # What is lost in a crash is made again: nothing waits for the disk, and nobody tidies up in between.
    postgres = replace(EmbeddedPostgres.of(place), settings=FILLING)
    postgres.prepare()
    log = folder / "postgres.log"
    child = spawn(postgres.command(), log)
    try:
        postgres.wait_ready(child, log)
        os.environ.update(DATABASE_URL=postgres.url(), VALKEY_URL="redis://127.0.0.1:1/0")
        manage(folder, "migrate")
        yield postgres.url()
    finally:
        for name in ("DATABASE_URL", "VALKEY_URL"):
            os.environ.pop(name, None)
        child.terminate()
        child.wait(120)


@dataclass(frozen=True)
class Plan:
    """What is made: how many spans, with contents or without, by how many backends at once."""

    spans: int
    has_content: bool = True
    workers: int = 2


def fill(url: str, plan: Plan, say: Any = print) -> None:
    """Everything for N spans up to this minute, into a database that is migrated and empty."""
    with psycopg.connect(url, autocommit=True) as conn:
        _fill(conn, url, plan, say)


def _fill(conn: psycopg.Connection[Any], url: str, plan: Plan, say: Any) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    days = [now.date() - timedelta(days=n) for n in range(DAYS - 1, -1, -1)]
    _people(conn, days[0])
    weights = [WEEKEND_PART if day.weekday() >= 5 else 1.0 for day in days]
    weights[-1] *= sum(DAY_SHAPE[: now.hour + 1]) / sum(DAY_SHAPE)
    indexes = _without_indexes(conn, "claim")
    todo: SimpleQueue[dict[str, Any]] = SimpleQueue()
    first = 0
    for day, weight in zip(days, weights, strict=True):
        traces = max(int(plan.spans / SPANS_PER_TRACE * weight / sum(weights)), 3)
        hours = [h for h, part in enumerate(DAY_SHAPE) for _ in range(part) if day < now.date() or h <= now.hour]
        todo.put({
            "first": first, "traces": traces, "hours": hours, "hour_count": len(hours), "number": day.toordinal(),
            "has_largest": day == days[-3], "has_content": plan.has_content, "on": day, "until": now,
        })  # fmt: skip
        first += traces
    with ThreadPoolExecutor(plan.workers) as pool:
        list(pool.map(lambda _: _days(url, todo, say), range(plan.workers)))
    for statement in indexes:
        conn.execute(statement)
    conn.execute("VACUUM ANALYZE")
    close_days(conn, datetime.now(UTC))
    close_bills(conn, datetime.now(UTC), most=1_000_000)
    conn.execute("VACUUM ANALYZE")
    index_days(conn, datetime.now(UTC).date())
    index_users(conn, datetime.now(UTC).date())
    with conn.transaction():
        count_new_budgets(conn, ns_from_utc(datetime(days[0].year, days[0].month, days[0].day, tzinfo=UTC)))


def _days(url: str, todo: SimpleQueue[dict[str, Any]], say: Any) -> None:
    """Days, until none is left, through a connection of its own."""
    with psycopg.connect(url, autocommit=True) as conn:
        drawn = _prepare(conn)
        while not todo.empty():
            try:
                given = todo.get_nowait()
            except Empty:
                return
            began = time.perf_counter()
            written = _day(conn, given["on"], given["until"], drawn | given)
            took = time.perf_counter() - began
            say(f"  {given['on']}: {written:,} spans, {written / took:,.0f} a second", flush=True)


def _people(conn: psycopg.Connection[Any], first_day: date) -> None:
    for number, slug in enumerate(TENANTS, start=1):
        conn.execute(
            "INSERT INTO tenants_tenant (id, slug, name, plan, content, time_zone, retention_days, is_active, "
            "created_at) VALUES (%s, %s, %s, 'none', 'full', 'UTC', 400, true, now())",
            (number, slug, slug.title()),
        )
        for feature in range(3):
            conn.execute(
                "INSERT INTO budgets_budget (tenant_id, name, limit_nanousd, \"window\", scope, action, thresholds, "
                "is_active, revision, created_at) VALUES (%s, %s, 1000000000000000, %s, %s, 'notify', '[]', true, 1, "
                "%s)",
                (number, f"budget {feature}", ("month", "day", "week")[feature],
                 ("{}", '{"user": "*"}', '{"feature": "*"}')[feature], first_day),
            )  # fmt: skip
        for feature in range(3):
            conn.execute(
                "INSERT INTO tenants_key (id, tenant_id, name, prefix, secret_hash, service, environment, feature, "
                "allowed_models, criticality, unpriced, created_at) VALUES (%s, %s, %s, '', %s, '', '', '', '[]', "
                "'background', 'refuse', now())",
                (10 * number + feature, number, f"key {feature}", secret_hash(f"scale {number} {feature}")),
            )
    for table in ("tenants_tenant", "tenants_key"):
        conn.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), 100)", (table,))


def _prepare(conn: psycopg.Connection[Any]) -> dict[str, Any]:
    """What the statements draw from: the trace, models with their prices, sentences, bodies of blocks."""
    # A day's tables have no statistics yet: joined by hash, whatever the planner guesses.
    for setting in ("TIME ZONE 'UTC'", "work_mem = '256MB'", "maintenance_work_mem = '256MB'", "enable_nestloop = off"):
        conn.execute(f"SET {setting}")
    for statement in (made.DRAW, made.SHAPE):
        conn.execute(statement)
    rows = [*read_trace("conv"), *read_trace("code")]
    random = Random(1)
    words = ["".join(random.choices(SYLLABLES, k=2 + n % 3)) + (str(n) if n > 300 else "") for n in range(VOCABULARY)]
    weights = [1 / (n + 1) for n in range(VOCABULARY)]
    sentences = [" ".join(random.choices(words, weights, k=14)) for _ in range(SENTENCES)]
    now_ns = ns_from_utc(datetime.now(UTC))
    book = PriceBook()
    with conn.cursor() as cur:
        with cur.copy("COPY shape FROM STDIN") as copy:
            for number, row in enumerate(rows):
                copy.write_row((number, math.modf(row.at_s / 3600)[0], row.context_tokens, row.generated_tokens))
        with cur.copy("COPY sentence FROM STDIN") as copy:
            for number, sentence in enumerate(sentences):
                copy.write_row((number, sentence))
    for number, (provider, name, token_ms, _) in enumerate(MODELS):
        price = book.price(1, provider, name, now_ns)
        if price is not None:
            remember(conn, [price])
        rates = price.rates if price is not None else None
        conn.execute(
            "INSERT INTO model VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (number, provider, name, token_ms, price.version if price else "",
             rates.uncached_input if rates else 0, rates.cache_read if rates else 0, rates.output if rates else 0),
        )  # fmt: skip
    bodies = [make_block([(_messages("user", s), _messages("assistant", s))] * 20) for s in sentences[:50]]
    return {
        "shapes": len(rows), "sentences": SENTENCES, "users": USERS, "bodies": bodies,
        "models": [number for number, model in enumerate(MODELS) for _ in range(model[3])],
    }  # fmt: skip


def _messages(role: str, text: str) -> str:
    return f'[{{"role": "{role}", "parts": [{{"type": "text", "content": "{text}"}}]}}]'


def _without_indexes(conn: psycopg.Connection[Any], table: str) -> list[str]:
    """Drop them, until all rows are in; answers what makes them again."""
    rows = conn.execute(
        "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), c.conname, pg_get_constraintdef(c.oid) "
        "FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid WHERE i.indrelid = %s::regclass",
        (table,),
    ).fetchall()
    again = []
    for index, definition, constraint, of_constraint in rows:
        if constraint:
            conn.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")
            again.append(f"ALTER TABLE {table} ADD CONSTRAINT {constraint} {of_constraint}")
        else:
            conn.execute(f"DROP INDEX {index}")
            again.append(definition)
    return again


def _day(conn: psycopg.Connection[Any], day: date, now: datetime, given: dict[str, Any]) -> int:
    names = {table: partition_name(table, day) for table in ("span", "trace", "bill", "payload_block")}
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    end = start + timedelta(days=1)
    given = given | {"day": start, "end": end, "until": now}
    with conn.transaction():
        for table, name in names.items():
            if day in existing_days(conn, table):
                conn.execute(f"DROP TABLE {name}")
            conn.execute(f"CREATE TABLE {name} (LIKE {table} {LIKE})")
        conn.execute(made.MADE, given)
        spans = conn.execute(made.SPAN.format(table=names["span"]), given).rowcount
        for statement, table in ((made.TRACE, "trace"), (made.BILL, "bill"), (made.BLOCKS, "payload_block")):
            conn.execute(statement.format(table=names[table], spans=names["span"]), given)
        short = {"short_scope": made.SHORT.format("s.scope_name"), "short_response": made.SHORT.format("s.response_id")}
        conn.execute(made.CLAIM.format(spans=names["span"], bills=names["bill"], **short))
        conn.execute(made.USERS.format(spans=names["span"]), given)
        conn.execute(made.minutes(names["span"]))
        for to in TARGETS[1:]:
            conn.execute(made.coarser(to, target(to.source)), given)
        for table, name in names.items():
            bounds = (start, end) if table in ("span", "bill") else (day, day + timedelta(days=1))
            conn.execute(
                f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{bounds[0]}') TO ('{bounds[1]}')"
            )
    return spans


def sizes(conn: psycopg.Connection[Any]) -> list[tuple[str, int, int, int]]:
    """(table, rows, bytes of rows, bytes of indexes), partitions added up, the largest first."""
    return conn.execute(
        "SELECT regexp_replace(relname, '_(2[0-9]{7}|[0-7])$', '') AS name, sum(greatest(reltuples, 0))::bigint, "
        "sum(pg_table_size(oid))::bigint, sum(pg_indexes_size(oid))::bigint FROM pg_class "
        "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace GROUP BY 1 "
        "ORDER BY sum(pg_total_relation_size(oid)) DESC LIMIT 12"
    ).fetchall()


def tell(conn: psycopg.Connection[Any]) -> None:
    """Print bytes per span, by table."""
    found = sizes(conn)
    spans = next(rows for name, rows, _, _ in found if name == "span")
    whole = (conn.execute("SELECT pg_database_size(current_database())").fetchone() or (0,))[0]
    print(f"{spans:,} spans, {whole / 1e9:.2f} GB, {whole / spans:,.0f} bytes a span with all indexes")
    for name, rows, table, indexes in found:
        print(f"  {name:<20} {rows:>12,} rows {table / spans:>8.1f} + {indexes / spans:>7.1f} bytes a span in indexes")


def main(arguments: Sequence[str] = ()) -> None:
    """Fill a folder's database, and say what it holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench scale")
    parser.add_argument("--spans", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, default=None, help="a folder that is kept, for `queries`")
    parser.add_argument("--no-content", action="store_true", help="no contents and no attributes")
    parser.add_argument("--workers", type=int, default=2, help="days that are made at once")
    parser.add_argument("--verify", action="store_true", help="run verify's checks on what was made")
    options = parser.parse_args(list(arguments))
    folder = options.keep or Path(tempfile.mkdtemp(prefix="llmobs-scale-"))
    try:
        with database(folder) as url, psycopg.connect(url, autocommit=True) as conn:
            began = time.perf_counter()
            fill(url, Plan(options.spans, not options.no_content, options.workers))
            took = time.perf_counter() - began
            print(f"made in {took:.0f} s, {1e6 * took / options.spans:.0f} s a million")
            tell(conn)
            if options.verify:
                report = verify(conn)
                print(f"verify: {len(report.differences)} differences in {sum(report.checked.values())} checks")
                for difference in report.differences[:10]:
                    print(f"  {difference}")
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
