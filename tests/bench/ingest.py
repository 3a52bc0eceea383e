"""Durable OTLP spans per second, end to end: posted, acknowledged, written with bills, roll-ups and traces.

The floor is what PostgreSQL takes of the same rows by a plain COPY into a table without bills, roll-ups or indexes but
the unique one, in the same run.
"""

import http.client
import threading
import time
from pathlib import Path

import psycopg

from llmobs.core.env import Place
from tests.bench import memory
from tests.bench.bodies import Bodies
from tests.bench.platform import SECRET, Platform, free_port, platform

SPANS_PER_REQUEST = 200
REQUESTS = 300
SENDERS = 4


def post_all(port: int, bodies: list[bytes]) -> list[float]:
    """Post every body once from SENDERS threads; returns the seconds that each took. 429 and 503 are repeated."""
    waiting, taken, lock = iter(bodies), [], threading.Lock()
    headers = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {SECRET}"}

    def send() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while True:
            with lock:
                body = next(waiting, None)
            if body is None:
                return
            while True:
                start = time.perf_counter()
                connection.request("POST", "/v1/traces", body, headers)
                answer = connection.getresponse()
                text = answer.read()
                if answer.status == 200:
                    break
                if answer.status not in (429, 503):
                    raise SystemExit(f"the collector answered {answer.status}: {text[:200]!r}")
                time.sleep(0.1)
            with lock:
                taken.append(time.perf_counter() - start)

    threads = [threading.Thread(target=send) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(taken)


def stored(conn: psycopg.Connection[tuple[int]]) -> int:
    """Spans in the roll-ups, which are written with them: counting spans would slow the writer."""
    row = conn.execute(
        "SELECT sum(spans) FROM (SELECT spans FROM rollup_delta UNION ALL SELECT spans FROM rollup_minute) AS r"
    ).fetchone()
    return int(row[0] or 0) if row else 0


def wait_stored(conn: psycopg.Connection[tuple[int]], spans: int, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while stored(conn) < spans:
        if time.monotonic() > until:
            raise SystemExit(f"only {stored(conn)} of {spans} spans were stored within {seconds:.0f} s")
        time.sleep(0.1)


def copy_floor(conn: psycopg.Connection[tuple[int]], spans: int) -> float:
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


def measure(up: Platform) -> None:
    maker = Bodies()
    warm = [maker.make(SPANS_PER_REQUEST) for _ in range(10)]
    bodies = [maker.make(SPANS_PER_REQUEST) for _ in range(REQUESTS)]
    size = sum(map(len, bodies)) / len(bodies) / SPANS_PER_REQUEST
    with psycopg.connect(Place(Path(up.data)).connections().database_url) as conn:
        conn.autocommit = True
        post_all(up.gateway_port, warm)
        wait_stored(conn, len(warm) * SPANS_PER_REQUEST)
        before, start = stored(conn), time.perf_counter()
        taken = post_all(up.gateway_port, bodies)
        acknowledged = time.perf_counter() - start
        spans = REQUESTS * SPANS_PER_REQUEST
        wait_stored(conn, before + spans)
        durable = time.perf_counter() - start
        sizes = conn.execute(
            "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relkind = 'r' AND relname ~ "
            "'^(span|payload_block|trace|bill|claim)_[0-9]+$'"
        ).fetchone()
        conn.autocommit = False
        floor = copy_floor(conn, before + spans)
    print(f"ingest, two cores, {size / 1000:.1f} KB spans, {SPANS_PER_REQUEST} to a request, {SENDERS} senders")
    print(f"  floor: plain COPY of the rows         {floor:9.0f} spans/s")
    print(f"  acknowledged                          {spans / acknowledged:9.0f} spans/s")
    print(
        f"  durable                               {spans / durable:9.0f} spans/s (aim ≥ 8,000)"
        f"   {spans / durable / floor:.2f} of the floor"
    )
    print(f"  a request of {SPANS_PER_REQUEST}: p50 {taken[len(taken) // 2] * 1000:.1f} ms, "
          f"p95 {taken[int(len(taken) * 0.95)] * 1000:.1f} ms")  # fmt: skip
    print(f"  on disk, all tables and indexes       {(sizes[0] if sizes else 0) / (before + spans):9.0f} bytes a span")


def main() -> None:
    """Print the ingest table and every process's memory after it."""
    unused = free_port()
    with platform(unused, unused) as up:
        measure(up)
        print("memory after it")
        memory.main(up.data)


if __name__ == "__main__":
    main()
