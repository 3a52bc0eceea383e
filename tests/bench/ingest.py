"""Durable OTLP spans per second, end to end: posted, acknowledged, written with bills, roll-ups and traces.

1. As fast as it goes: spans/s, and CPU of each process per 1,000 spans, which other work on the machine hardly changes.
2. At HALF_LOAD, evenly paced: how long a request of 200 takes, and after how long its last span can be queried.
3. Bytes a span by table, and memory.
The floor is what PostgreSQL takes of the same rows by a plain COPY into a table without bills, roll-ups or indexes but
the unique one, in the same run.
"""

import http.client
import threading
import time
from pathlib import Path
from typing import Any

import psycopg

from llmobs.core.env import Place
from tests.bench import memory
from tests.bench.bodies import Bodies
from tests.bench.machine import cpu_seconds, descendants
from tests.bench.platform import Platform, free_port, platform
from tests.bench.senders import percentile, post, send_all

SPANS_PER_REQUEST = 200
REQUESTS = 300
SENDERS = 4
HALF_LOAD = 7_500  # spans/s
HALF_LOAD_SECONDS = 8
PROBES = 8
PROCESSES = ("gateway", "writer", "postgres", "worker", "valkey")
TABLES = ("span", "detail_block", "payload_block", "bill", "claim", "trace")

Connection = psycopg.Connection[Any]


def stored(conn: Connection) -> int:
    """Spans in the roll-ups, which are written with them: counting spans would slow the writer."""
    row = conn.execute(
        "SELECT sum(spans) FROM (SELECT spans FROM rollup_delta UNION ALL SELECT spans FROM rollup_minute) AS r"
    ).fetchone()
    return int(row[0] or 0) if row else 0


def wait_stored(conn: Connection, spans: int, seconds: float = 300) -> None:
    until = time.monotonic() + seconds
    while (found := stored(conn)) < spans:
        if time.monotonic() > until:
            raise SystemExit(f"only {found} of {spans} spans were stored within {seconds:.0f} s")
        time.sleep(0.05)


def copy_floor(conn: Connection, spans: int) -> float:
    """Spans/s of a plain COPY of the stored rows into an empty table with the unique index alone."""
    rows = b""
    with conn.cursor() as cur, cur.copy("COPY (SELECT * FROM span) TO STDOUT (FORMAT binary)") as out:
        rows = b"".join(bytes(block) for block in out)
    with conn.cursor() as cur:
        cur.execute("CREATE TABLE floor (LIKE span)")
        cur.execute("CREATE UNIQUE INDEX ON floor (tenant_id, trace_id, span_id, start)")
        start = time.perf_counter()
        with cur.copy("COPY floor FROM STDIN (FORMAT binary)") as into:
            into.write(rows)
        conn.commit()
        taken = time.perf_counter() - start
        cur.execute("DROP TABLE floor")
        conn.commit()
    return spans / taken


def cpu(up: Platform) -> dict[str, float]:
    """CPU seconds so far of each kind of process, with all below it."""
    return {kind: cpu_seconds([below for pid in up.pids(kind) for below in descendants(pid)]) for kind in PROCESSES}


def bytes_a_span(conn: Connection, spans: int) -> dict[str, float]:
    """Of each table with its indexes and what it keeps aside."""
    sizes = dict.fromkeys(TABLES, 0.0)
    for table, size in conn.execute(
        "SELECT regexp_replace(relname, '_[0-9]+$', ''), sum(pg_total_relation_size(oid))::bigint FROM pg_class "
        "WHERE relkind = 'r' AND relname ~ %s GROUP BY 1",
        (f"^({'|'.join(TABLES)})_[0-9]+$",),
    ):
        sizes[str(table)] = size / spans
    return sizes


def visible_seconds(port: int, maker: Bodies, conn: Connection) -> float:
    """How long after it was sent a span can be queried."""
    body, began = maker.make(1), time.perf_counter()
    trace_id = body[body.index(b"\x0a\x10") + 2 :][:16]  # the first field of the only span: 16 bytes
    post(http.client.HTTPConnection("127.0.0.1", port, timeout=60), body)
    while conn.execute("SELECT 1 FROM span WHERE trace_id = %s", (trace_id,)).fetchone() is None:
        if time.perf_counter() - began > 60:
            raise SystemExit("a span could not be queried within a minute")
        time.sleep(0.01)
    return time.perf_counter() - began


def measure_most(up: Platform, conn: Connection, bodies: list[bytes]) -> None:
    """As fast as it goes."""
    spans, before, cpu_before, start = len(bodies) * SPANS_PER_REQUEST, stored(conn), cpu(up), time.perf_counter()
    taken = send_all(up.gateway_port, bodies, SENDERS)
    acknowledged = time.perf_counter() - start
    wait_stored(conn, before + spans)
    durable = time.perf_counter() - start
    used = {kind: (after - cpu_before[kind]) / spans * 1e6 for kind, after in cpu(up).items()}
    print(f"  acknowledged                          {spans / acknowledged:9.0f} spans/s")
    print(f"  durable                               {spans / durable:9.0f} spans/s (aim ≥ 15,000)")
    print(f"  a request of {SPANS_PER_REQUEST}, 4 at once             {_took(taken)}")
    each = ", ".join(f"{kind} {micros:.0f}" for kind, micros in used.items())
    print(f"  CPU a span, µs                        {sum(used.values()):9.0f} ({each}); two cores at 15,000/s: 133")


def measure_half(up: Platform, conn: Connection, maker: Bodies) -> None:
    """At half the aim, evenly paced."""
    per_second = HALF_LOAD / SPANS_PER_REQUEST
    bodies = [maker.make(SPANS_PER_REQUEST) for _ in range(int(per_second * HALF_LOAD_SECONDS))]
    before, taken = stored(conn), []
    load = threading.Thread(target=lambda: taken.extend(send_all(up.gateway_port, bodies, SENDERS, per_second)))
    load.start()
    seen = sorted(visible_seconds(up.gateway_port, maker, conn) for _ in range(PROBES))
    load.join()
    wait_stored(conn, before + len(bodies) * SPANS_PER_REQUEST + PROBES)
    print(f"  a request of {SPANS_PER_REQUEST} at {HALF_LOAD} spans/s       {_took(taken)} (aim: p95 ≤ 20 ms)")
    print(
        f"  visible at that load after            {seen[len(seen) // 2]:9.2f} s, at most {seen[-1]:.2f} s (aim ≤ 1 s)"
    )


def measure(up: Platform) -> None:
    maker = Bodies()
    warm = [maker.make(SPANS_PER_REQUEST) for _ in range(10)]
    bodies = [maker.make(SPANS_PER_REQUEST) for _ in range(REQUESTS)]
    size = sum(map(len, bodies)) / len(bodies) / SPANS_PER_REQUEST
    print(f"ingest, two cores, {size / 1000:.1f} KB spans, {SPANS_PER_REQUEST} to a request, {SENDERS} senders")
    with psycopg.connect(Place(Path(up.data)).connections().database_url) as conn:
        conn.autocommit = True
        send_all(up.gateway_port, warm, SENDERS)
        wait_stored(conn, len(warm) * SPANS_PER_REQUEST)
        measure_most(up, conn, bodies)
        measure_half(up, conn, maker)
        spans = stored(conn)
        sizes = bytes_a_span(conn, spans)
        each = ", ".join(f"{table} {size:.0f}" for table, size in sizes.items())
        print(f"  on disk, all tables and indexes       {sum(sizes.values()):9.0f} bytes a span (aim ≤ 2,200): {each}")
        conn.autocommit = False
        print(f"  floor: plain COPY of the rows         {copy_floor(conn, spans):9.0f} spans/s")
    used = memory.table(up.data)
    both = used["gateway"] + used["writer"]
    print(f"  memory of collector and writer        {both:9.0f} MB (aim ≤ 250)")


def _took(taken: list[float]) -> str:
    return f"p50 {percentile(taken, 0.5) * 1000:6.1f} ms, p95 {percentile(taken, 0.95) * 1000:.1f} ms"


def main() -> None:
    """Print the ingest table and every process's memory after it."""
    unused = free_port()
    with platform(unused, unused) as up:
        measure(up)
        print("memory after it")
        memory.main(up.data)


if __name__ == "__main__":
    main()
