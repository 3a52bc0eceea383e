"""How long a re-pricing of N calls takes, applied and undone, on the embedded PostgreSQL as it is shipped.

`python -m tests.bench reprice --rows 10000000` (needs about 4 KB of disk for each row; `--make DIR` makes them alone,
`--made DIR` measures on what that has made). The calls are a gateway's: each
is a trace of its own, so that every call also moves a trace's totals; four models, twelve features, a minute has all of
them; budgets of a month, and of each of 5,000 users by day. All of them change. It says whether all sums tie.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from llmobs.budgets.spend import count_new_budgets
from llmobs.core.clock import ns_from_utc
from llmobs.core.env import Place
from llmobs.ingest import adjust_run
from llmobs.ingest.commit import share_tenant
from llmobs.ops.child import spawn
from llmobs.ops.embedded_postgres import EmbeddedPostgres
from llmobs.pricing.book import Override, PriceBook
from llmobs.pricing.price import Rates
from llmobs.pricing.repricing import Question
from llmobs.pricing.versions import remember
from llmobs.rollups.compact import TARGETS, Target
from llmobs.rollups.delta import DIMENSIONS, MEASURES, SKETCHES
from llmobs.spans.partitions import partition_name
from llmobs.spans.trace_deltas import fold
from tests.bench.machine import TICKS, cpu_seconds, descendants, manage

MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini")
SPAN = """
INSERT INTO {table} (tenant_id, trace_id, span_id, start, duration_ns, name, source, is_call, is_counted, is_estimated,
    is_stream, operation_name, status, error_type, status_message, provider_name, request_model, response_model,
    response_id, finish_reasons, input_tokens, output_tokens, cache_read_input_tokens, cache_creation_input_tokens,
    cache_creation_1h_input_tokens, reasoning_output_tokens, cost_nanousd, price_version, held_nanousd, service,
    environment, feature, user_id, session_id, key_id, prompt_version, scope_name, preview, attributes)
SELECT 1, substr(sha256(int8send(g + %(first)s)), 1, 16), substr(sha256(int8send(-g - %(first)s)), 1, 8),
    %(day)s::timestamptz + g * %(step)s, 1500000000, 'chat ' || r.model, 1, true, true, false, false, 'chat', 'ok', '',
    '', 'openai', r.model, r.model, 'chatcmpl-' || g, '{{stop}}', i, o, c, 0, 0, 0,
    ((i - c) * r.input + c * r.cached + o * r.output + 999999) / 1000000, r.version, 0, 'shop',
    'production', 'feature-' || g %% 12, 'user-' || g %% 5000 * 7919 %% 5000, 'session-' || g / 8, 7, '', '',
    'What a customer asked, in about sixty characters or so, here', '{{"server.address": "api.openai.com"}}'
FROM (SELECT g, 1000 + g %% 700 AS i, 100 + g %% 300 AS o, g %% 3 * 100 AS c FROM generate_series(1, %(rows)s) g) n
JOIN unnest(%(models)s::text[], %(versions)s::text[], %(input)s::bigint[], %(cached)s::bigint[], %(output)s::bigint[])
    WITH ORDINALITY AS r (model, version, input, cached, output, place) ON r.place = 1 + g / 12 %% 4
ORDER BY g
"""
TRACE = """
INSERT INTO {table} (tenant_id, trace_id, day, start, finish, root_span_id, name, status, span_count, call_count,
    error_count, input_tokens, output_tokens, cost_nanousd, priced_count, unpriced_count, estimated_count, models,
    feature, environment, user_id, session_id)
SELECT tenant_id, trace_id, %(day)s, start, start + interval '1.5 s', span_id, name, status, 1, 1, 0, input_tokens,
    output_tokens, cost_nanousd, 1, 0, 0, ARRAY[request_model], feature, environment, user_id, session_id
FROM {spans}
"""
BILL = """
INSERT INTO {table} (tenant_id, bill_id, begin_at, trace_id, span_id, kind, reason, source, requests, provider_name,
    model, response_id, uncached_input_tokens, cache_read_input_tokens, cache_write_5m_input_tokens,
    cache_write_1h_input_tokens, output_tokens, reasoning_output_tokens, cost_nanousd, price_version, held_nanousd,
    budget_ids, service, environment, feature, user_id, session_id, key_id)
SELECT tenant_id, (extract(epoch FROM start) * 1000)::bigint << 22 | row_number() OVER () %% 4194304, start, trace_id,
    span_id, 'measured', '', 1, 1, provider_name, request_model, response_id,
    input_tokens - cache_read_input_tokens, cache_read_input_tokens, 0, 0, output_tokens, 0, cost_nanousd,
    price_version, 0, '{{1,2}}', service, environment, feature, user_id, session_id, key_id
FROM {spans}
"""
USERS = (
    "INSERT INTO rollup_user_day SELECT tenant_id, start::date, user_id, count(*), 0, sum(input_tokens), "
    "sum(output_tokens), sum(cost_nanousd), 0 FROM span GROUP BY 1, 2, 3"
)
BUDGETS = """
INSERT INTO budgets_budget (tenant_id, name, limit_nanousd, "window", scope, action, thresholds, is_active, revision,
    created_at) VALUES (1, 'monthly', 1000000000000000, 'month', '{}', 'block', '[]', true, 1, now()),
    (1, 'users', 1000000000000000, 'day', '{"user": "*"}', 'block', '[]', true, 1, now())
"""


@contextmanager
def database(folder: Path) -> Iterator[tuple[str, int]]:
    """A migrated database in a folder, with its process; ended with the block."""
    place = Place(folder)
    place.make()
    postgres = EmbeddedPostgres.of(place)
    postgres.prepare()
    log = folder / "postgres.log"
    child = spawn(postgres.command(), log)
    try:
        postgres.wait_ready(child, log)
        # Nothing of Valkey is asked for, but the settings want an address.
        os.environ.update(DATABASE_URL=postgres.url(), VALKEY_URL="redis://127.0.0.1:1/0")
        manage(folder, "migrate")
        yield postgres.url(), child.pid
    finally:
        child.terminate()
        child.wait(60)


def seed(conn: psycopg.Connection[Any], rows: int, of_days: int) -> None:
    """Calls of so many days with all that is kept of them."""
    book, today = PriceBook(), datetime.now(UTC).date()
    found = [book.price(1, "openai", model, ns_from_utc(datetime.now(UTC))) for model in MODELS]
    prices = [price for price in found if price is not None]
    conn.execute(
        "INSERT INTO tenants_tenant (id, slug, name, plan, content, time_zone, retention_days, is_active, created_at) "
        "VALUES (1, 'bench', 'Bench', 'none', 'full', 'UTC', 400, true, now())"
    )
    remember(conn, prices)
    days = [today - timedelta(days=n) for n in range(of_days, 0, -1)]
    for number, day in enumerate(days):
        _seed_day(conn, day, number, rows // of_days, prices)
    for target in TARGETS:
        _seed_rollup(conn, target)
    conn.execute(USERS)
    conn.execute(BUDGETS)
    for table in ("span", "trace", "bill", "rollup_minute", "rollup_hour", "rollup_user_day"):
        conn.execute(f"VACUUM ANALYZE {table}")
    start = datetime(days[0].year, days[0].month, days[0].day, tzinfo=UTC)
    with conn.transaction():
        count_new_budgets(conn, ns_from_utc(start))


def _seed_day(conn: psycopg.Connection[Any], day: date, number: int, rows: int, prices: list[Any]) -> None:
    given = {
        "day": day, "first": number * 100_000_000, "rows": rows, "step": timedelta(days=1) / (rows + 1),
        "models": list(MODELS), "versions": [p.version for p in prices],
        "input": [p.rates.uncached_input for p in prices], "cached": [p.rates.cache_read for p in prices],
        "output": [p.rates.output for p in prices],
    }  # fmt: skip
    conn.execute("SET TIME ZONE 'UTC'")
    spans = partition_name("span", day)
    for parent, statement in (("span", SPAN), ("trace", TRACE), ("bill", BILL)):
        # Filled before it is attached: its indexes are then made at once, ten times as fast.
        table = partition_name(parent, day)
        conn.execute(f"CREATE TABLE {table} (LIKE {parent} INCLUDING ALL EXCLUDING INDEXES)")
        conn.execute(statement.format(table=table, spans=spans), given)
        conn.execute(
            f"ALTER TABLE {parent} ATTACH PARTITION {table} FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
        )


def _seed_rollup(conn: psycopg.Connection[Any], target: Target) -> None:
    values = {
        "spans": "count(*)", "calls": "count(*)", "cost_nanousd": "sum(cost_nanousd)",
        "uncached_input_tokens": "sum(input_tokens - cache_read_input_tokens)", "output_tokens": "sum(output_tokens)",
        "cache_read_input_tokens": "sum(cache_read_input_tokens)", **dict.fromkeys(SKETCHES, "'{}'"),
    }  # fmt: skip
    names = ["request_model" if name == "model" else name for name in target.dimensions]
    keys = ", ".join(map(str, range(1, 3 + len(names))))
    assert set(target.dimensions) <= set(DIMENSIONS)
    conn.execute(
        f"INSERT INTO {target.table} (tenant_id, {target.bucket}, {', '.join([*target.dimensions, *MEASURES])}) "
        f"SELECT tenant_id, {target.begin_sql('start')}, "
        f"{', '.join([*names, *(values.get(name, '0') for name in MEASURES)])} "
        f"FROM span GROUP BY {keys} ORDER BY {keys}"
    )


SUMS = {
    "bills": "SELECT sum(cost_nanousd)::bigint FROM bill",
    "traces": "SELECT ((SELECT sum(cost_nanousd) FROM trace) + (SELECT COALESCE(sum(cost_nanousd), 0) "
    "FROM trace_delta))::bigint",
    "minutes": "SELECT sum(cost_nanousd)::bigint FROM rollup_minute",
    "hours": "SELECT sum(cost_nanousd)::bigint FROM rollup_hour",
    "hours of tenants": "SELECT sum(cost_nanousd)::bigint FROM rollup_tenant_hour",
    "hours of models": "SELECT sum(cost_nanousd)::bigint FROM rollup_model_hour",
    "users": "SELECT sum(cost_nanousd)::bigint FROM rollup_user_day",
    "budget of each user": "SELECT sum(spent)::bigint FROM budget_spend WHERE budget_id = 2",
    "monthly budget": "SELECT sum(spent)::bigint FROM budget_spend WHERE budget_id = 1",
}


def sums(conn: psycopg.Connection[Any]) -> dict[str, int]:
    """The money of each table: all the same, where all ties."""
    return {name: int((conn.execute(query).fetchone() or (0,))[0] or 0) for name, query in SUMS.items()}


def make(url: str, rows: int, days: int) -> None:
    """Seed; print how long it took."""
    with psycopg.connect(url, autocommit=True) as conn:
        began = time.perf_counter()
        seed(conn, rows, days)
        print(f"{rows:,} calls made in {time.perf_counter() - began:.0f} s", flush=True)


def measure(url: str, server: int, is_folded: bool) -> None:
    """Apply, fold if asked, undo; print what each took and whether the sums tie."""
    with psycopg.connect(url, autocommit=True) as conn:
        row = conn.execute("SELECT count(*), min(begin_at), max(begin_at) FROM bill").fetchone()
        assert row is not None
        rows, since, until = row[0], row[1], row[2] + timedelta(seconds=1)
        print(f"re-pricing of {rows:,} calls, {adjust_run.AT_ONCE} at once")
        before = sums(conn)
        book = PriceBook(
            Override(None, "openai", model, 0, Rates(10**9 * n, 10**8 * n, 0, 0, 4 * 10**9 * n), None)
            for n, model in enumerate(MODELS, start=1)
        )
        row = conn.execute(
            "INSERT INTO repricing (providers, model_names, since, until, note, state, error, created_by, created_at) "
            "VALUES ('[]', '[]', %s, %s, '', 'applying', '', 'bench', now()) RETURNING id",
            (since, until),
        ).fetchone()
        assert row is not None
        _timed(conn, server, "applied", lambda: adjust_run.apply(
            lambda: psycopg.connect(url, autocommit=True), row[0], Question(None, since, until), book, lambda _: None
        ))  # fmt: skip
        after = sums(conn)
        if is_folded:
            fold_traces(conn, server)
        conn.execute("UPDATE repricing SET state = 'undoing'")
        _timed(conn, server, "undone", lambda: adjust_run.undo(
            lambda: psycopg.connect(url, autocommit=True), row[0], lambda _: None
        ))  # fmt: skip
        for name, found in (("before", before), ("applied", after), ("undone", sums(conn))):
            tie = len(set(found.values())) == 1
            print(f"  {name}: {found['bills']} nano-USD, all sums {'tie' if tie else f'DIFFER: {found}'}")
        if sums(conn) != before or len(set(after.values())) != 1:
            raise SystemExit("the sums do not tie")


def fold_traces(conn: psycopg.Connection[Any], server: int) -> None:
    """What the worker does afterwards, beside all other work: the order of traces by cost follows."""
    start, used = time.perf_counter(), _cpu_seconds(server)
    folded = fold(conn, share_tenant)
    took, used = time.perf_counter() - start, _cpu_seconds(server) - used
    print(f"  totals of {folded:,} traces folded in afterwards: {took:.1f} s, {used:.0f} s of CPU", flush=True)


def _timed(conn: psycopg.Connection[Any], server: int, what: str, run: Any) -> None:
    start, used = time.perf_counter(), _cpu_seconds(server)
    done = run()
    took, used = time.perf_counter() - start, _cpu_seconds(server) - used
    row = conn.execute("SELECT pg_size_pretty(pg_database_size(current_database()))").fetchone()
    print(
        f"  {what}: {took:.1f} s, {done.bills / took:,.0f} calls/s; {used:.0f} s of CPU in PostgreSQL and here; "
        f"database {row[0] if row else '?'}",
        flush=True,
    )


def _cpu_seconds(server: int) -> float:
    """Of the server with its backends, those that ended too, and of this process."""
    ended = Path(f"/proc/{server}/stat").read_text().rsplit(")", 1)[1].split()[13:15]
    return cpu_seconds([*descendants(server), os.getpid()]) + sum(map(int, ended)) / TICKS


def main(arguments: Sequence[str] = ()) -> None:
    """Print the figures of `--rows` calls."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench reprice")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=30, help="that they lie in: users and minutes are met once in each")
    parser.add_argument("--make", type=Path, default=None, help="make the calls in this folder, and measure nothing")
    parser.add_argument("--made", type=Path, default=None, help="measure on a folder of --make, which stays")
    parser.add_argument("--unfolded", action="store_true", help="undo while the totals of traces wait to be folded in")
    options = parser.parse_args(list(arguments))
    folder = options.make or options.made or Path(tempfile.mkdtemp(prefix="llmobs-reprice-"))
    try:
        with database(folder) as (url, server):
            if options.made is None:
                make(url, options.rows, options.days)
            if options.make is None:
                measure(url, server, not options.unfolded)
    finally:
        if options.make is None and options.made is None:
            shutil.rmtree(folder, ignore_errors=True)
