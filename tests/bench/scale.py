"""A platform's database filled with N spans over 30 days by the real trace's pattern, for `queries.py` to ask.

`python -m tests.bench scale --spans 10000000 --keep DIR` (without --keep it is measured, verified and thrown away).
`--no-content`: no contents, first words on one span in fifty; `--no-claims`: what nothing reads but the writer is left
out; so that more of them fit on a disk. `--until`, `--most-gb`, `--least-free-gb`: an end, by which all 30 days are
there with as many spans as fit (`scale_pace`).

1. A migrated database in a folder, five tenants, an operator with a key, budgets, prices, the trace as `shape`.
2. Day by day, each in one transaction, several beside each other (`--workers`): spans, traces, bills, claims, users'
   days and roll-ups, into tables that are attached as partitions once they are full (indexes are then built by sorting,
   several times faster than row by row).
   Days that are over have their indexes of words and of bills' users from the beginning.
3. Days that are over get their roll-ups of days and bills added up, as the worker makes them.
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
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from random import Random
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from llmobs.budgets.spend import count_new_budgets
from llmobs.core.clock import ns_from_utc
from llmobs.core.env import Place
from llmobs.ingest.otlp.adapters import GEN_AI
from llmobs.ops.child import spawn
from llmobs.ops.demo.backfill import DAY_SHAPE, WEEKEND_PART
from llmobs.ops.demo.trace import read_trace
from llmobs.ops.embedded_postgres import EmbeddedPostgres
from llmobs.ops.verify import verify
from llmobs.pricing.book import PriceBook
from llmobs.pricing.versions import remember
from llmobs.rollups.bills import close_bills
from llmobs.rollups.compact import TARGETS, target
from llmobs.rollups.days import close_days
from llmobs.spans.blocks import make_block
from llmobs.spans.details import Detail, make_details
from llmobs.spans.partitions import DAY_TABLES, existing_days, make_table, partition_name
from llmobs.spans.words import COLUMNS, index_name
from llmobs.tenants.keys import secret_hash
from tests.bench import scale_sql as made
from tests.bench.machine import in_the_background, manage
from tests.bench.scale_pace import Bounds, Pace

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
    "max_wal_size": "1GB", "checkpoint_timeout": "30min",
}  # fmt: skip
USERS = 5_000  # of each tenant
DETAIL_BODIES = 40
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
    has_claims: bool = True
    bounds: Bounds = field(default_factory=Bounds)


def fill(url: str, folder: Path, plan: Plan, say: Any = print) -> None:
    """Everything for N spans up to this minute, into a database that is migrated and empty."""
    with psycopg.connect(url, autocommit=True) as conn:
        in_the_background(conn.info.backend_pid)
        _fill(conn, url, folder, plan, say)


def _fill(conn: psycopg.Connection[Any], url: str, folder: Path, plan: Plan, say: Any) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    days = [now.date() - timedelta(days=n) for n in range(DAYS)]
    people(conn, days[-1])
    weights = {day: WEEKEND_PART if day.weekday() >= 5 else 1.0 for day in days}
    weights[days[0]] *= sum(DAY_SHAPE[: now.hour + 1]) / sum(DAY_SHAPE)
    pace = Pace(folder, plan.bounds, plan.spans, list(weights.values()), plan.workers)
    indexes = _without_indexes(conn, "claim")
    todo: SimpleQueue[dict[str, Any]] = SimpleQueue()
    for day in days:  # today first, which is small and shows the pace
        hours = [h for h, part in enumerate(DAY_SHAPE) for _ in range(part) if day < now.date() or h <= now.hour]
        todo.put({
            "hours": hours, "hour_count": len(hours), "number": day.toordinal(), "weight": weights[day],
            "has_largest": day == days[2], "has_content": plan.has_content, "has_claims": plan.has_claims, "on": day,
            "until": now,
        })  # fmt: skip
    with ThreadPoolExecutor(plan.workers) as pool:
        list(pool.map(lambda _: _days(url, pace, todo, say), range(plan.workers)))
        say(f"  days are there after {time.time() - pace.began:.0f} s", flush=True)
        for statement in indexes:
            conn.execute(statement)
        close_days(conn, datetime.now(UTC))
        close_bills(conn, datetime.now(UTC), most=1_000_000)
        say(f"  days are closed after {time.time() - pace.began:.0f} s", flush=True)
        tables = _tables(conn)
        list(pool.map(lambda n: _vacuum(url, tables[n :: plan.workers]), range(plan.workers)))
    for table in (*DAY_TABLES, "claim"):
        conn.execute(f"ANALYZE ONLY {table}")
    with conn.transaction():
        count_new_budgets(conn, ns_from_utc(datetime(days[-1].year, days[-1].month, days[-1].day, tzinfo=UTC)))
    conn.execute("VACUUM ANALYZE budget_spend")
    say(f"  all is there after {time.time() - pace.began:.0f} s", flush=True)


def _tables(conn: psycopg.Connection[Any]) -> list[str]:
    """All tables that hold rows themselves, the largest first."""
    rows = conn.execute(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace "
        "ORDER BY pg_relation_size(oid) DESC"
    ).fetchall()
    return [name for (name,) in rows]


def _vacuum(url: str, tables: list[str]) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        in_the_background(conn.info.backend_pid)
        for table in tables:
            conn.execute(f"VACUUM ANALYZE {table}")


def _days(url: str, pace: Pace, todo: SimpleQueue[dict[str, Any]], say: Any) -> None:
    """Days, until none is left, through a connection of its own."""
    with psycopg.connect(url, autocommit=True) as conn:
        in_the_background(conn.info.backend_pid)
        drawn = prepare(conn)
        while not todo.empty():
            try:
                given = todo.get_nowait()
            except Empty:
                return
            began = time.perf_counter()
            taken = pace.take(given["weight"], _size(conn))
            written = make_day(conn, given["on"], given["until"], drawn | given | many(taken, given))
            took = time.perf_counter() - began
            pace.written(written, took, taken)
            say(f"  {given['on']}: {written:,} spans, {written / took:,.0f} a second", flush=True)


def many(spans: int, given: dict[str, Any]) -> dict[str, Any]:
    """So many spans of a day: how many traces, from which number on, and how many spans of each hour."""
    hours = [given["hours"].count(hour) * spans // len(given["hours"]) for hour in range(24)]
    first = (given["number"] % 10_000) * 1_000_000
    return {"traces": max(int(spans / SPANS_PER_TRACE), 3), "first": first, "hour_spans": hours}


def _size(conn: psycopg.Connection[Any]) -> int:
    row = conn.execute("SELECT pg_database_size(current_database())").fetchone()
    return int(row[0]) if row else 0


def people(conn: psycopg.Connection[Any], first_day: date) -> None:
    """Tenants with budgets and keys."""
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


def prepare(conn: psycopg.Connection[Any]) -> dict[str, Any]:
    """What the statements draw from: the trace, models with their prices, sentences, bodies of blocks."""
    # A day's tables have no statistics yet: joined by hash, whatever the planner guesses.
    for setting in (
        "TIME ZONE 'UTC'", "work_mem = '256MB'", "maintenance_work_mem = '512MB'", "enable_nestloop = off",
        "max_parallel_maintenance_workers = 0", "max_parallel_workers_per_gather = 0",
    ):  # fmt: skip
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
    versions = []
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
        versions.append(price.version if price is not None else "")
        conn.execute(
            "INSERT INTO model VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (number, provider, name, token_ms, price.version if price else "",
             rates.uncached_input if rates else 0, rates.cache_read if rates else 0, rates.output if rates else 0),
        )  # fmt: skip
    bodies = [make_block([(_messages("user", s), _messages("assistant", s))] * 20) for s in sentences[:50]]
    counted = conn.execute(
        "SELECT t.id, string_agg(b.id::text, ' ' ORDER BY b.id) FROM tenants_tenant t LEFT JOIN budgets_budget b "
        "ON b.tenant_id = t.id WHERE t.id <= %s GROUP BY t.id ORDER BY t.id", (len(TENANTS),),
    ).fetchall()  # fmt: skip
    kinds = made.DETAIL_KINDS
    return {
        "shapes": len(rows), "sentences": SENTENCES, "users": USERS, "bodies": bodies,
        "models": [number for number, model in enumerate(MODELS) for _ in range(model[3])],
        "details": [_details(random, versions) for _ in range(DETAIL_BODIES)], "detail_kinds": list(kinds),
        "detail_slots": [sum(kinds[:n]) for n in range(len(kinds))], "budgets": [ids for _, ids in counted],
        "scope": made.SCOPE, "adapter": GEN_AI.code,
    }  # fmt: skip


def _details(random: Random, versions: list[str]) -> bytes:
    """The body of a block of details: of each kind its slots, with what no two spans share."""
    found: list[Detail] = []
    for kind, slots in enumerate(made.DETAIL_KINDS):
        for _ in range(slots):
            attributes: dict[str, Any] = {
                "service.version": "2026.11.3", "service.instance.id": f"{random.getrandbits(24):06x}-{kind}",
                "thread.id": 140_000_000_000 + random.randrange(64), "app.request_id": f"{random.getrandbits(96):024x}",
            }  # fmt: skip
            if kind:
                attributes |= {
                    "server.address": "api.provider.example", "server.port": 443, "gen_ai.request.max_tokens": 2048,
                    "gen_ai.request.temperature": 0.2, "gen_ai.request.top_p": 1.0,
                }  # fmt: skip
            is_answered = kind > 1
            found.append(Detail(
                msgspec.json.encode(attributes), made.SCOPE, ("stop",) if is_answered else (),
                versions[kind - 2] if is_answered else "",
            ))  # fmt: skip
    return make_details(found)


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


def make_day(conn: psycopg.Connection[Any], day: date, now: datetime, given: dict[str, Any]) -> int:
    """All of a day, in one transaction; how many spans."""
    names = {table: partition_name(table, day) for table in DAY_TABLES}
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    end = start + timedelta(days=1)
    base = int(start.timestamp() * 1000) << 22
    given = given | {"day": start, "end": end, "until": now, "detail_base": base}
    with conn.transaction(), conn.cursor() as cur:
        for table, name in names.items():
            if day in existing_days(conn, table):
                conn.execute(f"DROP TABLE {name}")
            make_table(cur, table, sql.Identifier(name))
        conn.execute(made.MADE, given)
        spans = conn.execute(made.SPAN.format(table=names["span"]), given).rowcount
        conn.execute(f"ANALYZE {names['span']}")
        for statement, table in (
            (made.TRACE, "trace"), (made.BILL, "bill"), (made.BLOCKS, "payload_block"), (made.DETAILS, "detail_block"),
        ):  # fmt: skip
            conn.execute(statement.format(table=names[table], spans=names["span"]), given)
        if given["has_claims"]:
            conn.execute(made.CLAIM.format(spans=names["span"], bills=names["bill"]), given)
        for statement in (made.USERS, made.METERED):
            conn.execute(statement.format(spans=names["span"]), given)
        conn.execute(made.minutes(names["span"]))
        for to in TARGETS[1:]:
            conn.execute(made.coarser(to, target(to.source)), given)
        if day < now.date():
            conn.execute(f"CREATE INDEX {index_name(day)} ON {names['span']} USING gin (span_words({COLUMNS}))")
            conn.execute(f"CREATE INDEX {names['bill']}_users ON {names['bill']} (tenant_id, user_id) "
                         "WHERE user_id <> ''")  # fmt: skip
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
    parser.add_argument("--no-content", action="store_true", help="no contents, hardly any first words")
    parser.add_argument("--no-claims", action="store_true", help="without what only the writer reads")
    parser.add_argument(
        "--until", type=datetime.fromisoformat, default=None, help="when it is to be finished, with zone"
    )
    parser.add_argument("--most-gb", type=float, default=1e9, help="how large it may become")
    parser.add_argument("--least-free-gb", type=float, default=0, help="what stays free of the disk")
    parser.add_argument("--workers", type=int, default=2, help="days that are made at once")
    parser.add_argument("--nice", type=int, default=0, help="how far it stands back for others once it fills")
    parser.add_argument("--verify", action="store_true", help="run verify's checks on what was made")
    options = parser.parse_args(list(arguments))
    folder = options.keep or Path(tempfile.mkdtemp(prefix="llmobs-scale-"))
    try:
        with database(folder) as url, psycopg.connect(url, autocommit=True) as conn:
            os.setpriority(os.PRIO_PROCESS, 0, options.nice)
            began = time.perf_counter()
            bounds = Bounds(options.until, int(options.most_gb * 1e9), int(options.least_free_gb * 1e9))
            fill(
                url, folder, Plan(options.spans, not options.no_content, options.workers, not options.no_claims, bounds)
            )
            took = time.perf_counter() - began
            print(f"made in {took:.0f} s")
            tell(conn)
            if options.verify:
                report = verify(conn)
                print(f"verify: {len(report.differences)} differences in {sum(report.checked.values())} checks")
                for difference in report.differences[:10]:
                    print(f"  {difference}")
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
