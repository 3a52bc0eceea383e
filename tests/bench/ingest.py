"""Durable OTLP spans per second, end to end: posted, acknowledged, written with bills, roll-ups and traces.

Authentication, redaction, pricing and two budgets are on.
1. As fast as it goes: spans/s, and CPU of each process per 1,000 spans, which other work on the machine hardly changes.
2. At HALF_LOAD, evenly paced: how long a request of 200 takes, and after how long its last span can be queried.
3. Bytes a span by table, and the most memory that collector and writers took (`memory`: by parts, and resident).
4. phoenix and mlflow, with the same bodies, one after the other once ours has ended.
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
from tests.bench import ingest_peers, memory
from tests.bench.bodies import Bodies
from tests.bench.ingest_peers import PROTOBUF, Figures
from tests.bench.machine import cpu_seconds, descendants, resident_mb, wait_quiet
from tests.bench.platform import SECRETS, Platform, free_port, platform
from tests.bench.senders import percentile, post, send_all

SPANS_PER_REQUEST = 200
REQUESTS = 300
SENDERS = 4
HALF_LOAD = 7_500  # spans/s
HALF_LOAD_SECONDS = 8
HEADERS = PROTOBUF | {"Authorization": f"Bearer {SECRETS['reporting']}"}
PROCESSES = ("gateway", "writer", "postgres", "worker", "valkey")
STARTING = ("worker", "beat", "web")  # still busy with their modules when the gateway is ready
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
    post(http.client.HTTPConnection("127.0.0.1", port, timeout=60), body, HEADERS)
    while conn.execute("SELECT 1 FROM span WHERE trace_id = %s", (trace_id,)).fetchone() is None:
        if time.perf_counter() - began > 60:
            raise SystemExit("a span could not be queried within a minute")
        time.sleep(0.01)
    return time.perf_counter() - began


def measure_most(up: Platform, conn: Connection, bodies: list[bytes]) -> tuple[float, float, float]:
    """As fast as it goes: spans/s acknowledged and durable, and µs of CPU a span."""
    spans, before, cpu_before, start = len(bodies) * SPANS_PER_REQUEST, stored(conn), cpu(up), time.perf_counter()
    taken = send_all(up.gateway_port, bodies, SENDERS, headers=HEADERS)
    acknowledged = time.perf_counter() - start
    wait_stored(conn, before + spans)
    durable = time.perf_counter() - start
    used = {kind: (after - cpu_before[kind]) / spans * 1e6 for kind, after in cpu(up).items()}
    print(f"  acknowledged                          {spans / acknowledged:9.0f} spans/s")
    print(f"  durable                               {spans / durable:9.0f} spans/s (aim ≥ 15,000)")
    print(f"  a request of {SPANS_PER_REQUEST}, 4 at once             {_took(taken)}")
    each = ", ".join(f"{kind} {micros:.0f}" for kind, micros in used.items())
    print(f"  CPU a span, µs                        {sum(used.values()):9.0f} ({each}); two cores at 15,000/s: 133")
    return spans / acknowledged, spans / durable, sum(used.values())


def measure_half(up: Platform, conn: Connection, maker: Bodies) -> None:
    """At half the aim, evenly paced."""
    per_second = HALF_LOAD / SPANS_PER_REQUEST
    bodies = [maker.make(SPANS_PER_REQUEST) for _ in range(int(per_second * HALF_LOAD_SECONDS))]
    before, taken = stored(conn), []
    load = threading.Thread(
        target=lambda: taken.extend(send_all(up.gateway_port, bodies, SENDERS, per_second, HEADERS))
    )
    load.start()
    seen = []
    while load.is_alive():
        seen.append(visible_seconds(up.gateway_port, maker, conn))
    wait_stored(conn, before + len(bodies) * SPANS_PER_REQUEST + len(seen))
    seen.sort()
    print(f"  a request of {SPANS_PER_REQUEST} at {HALF_LOAD} spans/s       {_took(taken)} (aim: p95 ≤ 20 ms)")
    print(
        f"  visible at that load after            {percentile(seen, 0.95):9.2f} s p95 of {len(seen)}, "
        f"p50 {percentile(seen, 0.5):.2f} s, at most {seen[-1]:.2f} s (aim ≤ 1 s)"
    )


def measure(up: Platform, maker: Bodies, bodies: list[bytes]) -> Figures:
    """Print our own figures, and answer those that have a peer's beside them."""
    warm = [maker.make(SPANS_PER_REQUEST) for _ in range(10)]
    size = sum(map(len, bodies)) / len(bodies) / SPANS_PER_REQUEST
    print(f"ingest, two cores, {size / 1000:.1f} KB spans, {SPANS_PER_REQUEST} to a request, {SENDERS} senders")
    with psycopg.connect(Place(Path(up.data)).connections().database_url) as conn:
        conn.autocommit = True
        wait_quiet(lambda: [below for kind in STARTING for pid in up.pids(kind) for below in descendants(pid)])
        send_all(up.gateway_port, warm, SENDERS, headers=HEADERS)
        wait_stored(conn, len(warm) * SPANS_PER_REQUEST)
        with memory.Most(lambda: _own(up)) as most:
            acknowledged, durable, micros = measure_most(up, conn, bodies)
            measure_half(up, conn, maker)
        spans = stored(conn)
        sizes = bytes_a_span(conn, spans)
        each = ", ".join(f"{table} {size:.0f}" for table, size in sizes.items())
        print(f"  on disk, all tables and indexes       {sum(sizes.values()):9.0f} bytes a span (aim ≤ 2,200): {each}")
        conn.autocommit = False
        print(f"  floor: plain COPY of the rows         {copy_floor(conn, spans):9.0f} spans/s")
    peak = resident_mb(_own(up), is_peak=True)
    print(f"  memory of collector and writers       {most.mb:9.0f} MB at its most, each page once (aim ≤ 250)")
    print(f"    as resident in each of them         {peak:9.0f} MB, what they share as often as they are")
    return Figures("llmobs", acknowledged, durable, micros, sum(sizes.values()), peak)


def _own(up: Platform) -> list[int]:
    """The collector and the writers."""
    return up.pids("gateway") + up.pids("writer")


def compare(ours: Figures, bodies: list[bytes]) -> None:
    """The peers' figures, and how many times theirs ours is."""
    print("  the same bodies      acknowledged/s    durable/s   CPU a span, µs   bytes a span       MB   durable: ours")
    theirs = (ingest_peers.measured(peer, bodies, SPANS_PER_REQUEST) for peer in ingest_peers.PEERS)
    for found in (ours, *(figures for figures in theirs if figures)):
        print(
            f"    {found.name:18} {found.acknowledged:14.0f} {found.durable:12.0f} {found.cpu:16.0f} "
            f"{found.bytes:14.0f} {found.memory:8.0f} {ours.durable / found.durable:11.1f} times"
        )
    print("    (aims: ≥ 90 times phoenix, ≥ 8 times mlflow)")


def _took(taken: list[float]) -> str:
    return f"p50 {percentile(taken, 0.5) * 1000:6.1f} ms, p95 {percentile(taken, 0.95) * 1000:.1f} ms"


def main() -> None:
    """Print the ingest table, every process's memory after it, and the peers' figures."""
    maker, unused = Bodies(), free_port()
    bodies = [maker.make(SPANS_PER_REQUEST) for _ in range(REQUESTS)]
    with platform(unused, unused) as up:
        ours = measure(up, maker, bodies)
        print("memory after it")
        memory.main(up.data)
    compare(ours, bodies)


if __name__ == "__main__":
    main()
