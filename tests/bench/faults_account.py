"""What a row of the fault table tells: counts in PostgreSQL, memory of the processes, how long until all is there."""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from tests.bench.faults_load import Said
from tests.bench.faults_platform import Up
from tests.bench.machine import resident_mb

WATCHED = ("gateway", "collector", "writer")
DRAIN_SECONDS = 240.0  # without any progress, that is

_FOUND = """
SELECT count(*), coalesce(sum(n), 0) FROM (
    SELECT count(*) AS n FROM unnest(%s::bytea[], %s::bytea[]) AS k (trace_id, span_id)
    JOIN span s ON s.tenant_id = (SELECT id FROM tenants_tenant WHERE slug = 'faults')
        AND s.trace_id = k.trace_id AND s.span_id = k.span_id GROUP BY s.trace_id, s.span_id) AS each
"""
_BILLS = """
SELECT count(*) FILTER (WHERE requests > 1), count(*) FILTER (WHERE requests = 1) FROM (
    SELECT sum(b.requests) AS requests FROM span s JOIN bill b USING (tenant_id, trace_id, span_id)
    WHERE s.tenant_id = (SELECT id FROM tenants_tenant WHERE slug = 'faults') AND s.response_id = ANY(%s)
    GROUP BY s.response_id) AS each
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """Of what was acknowledged: spans that are there, spans that are there more than once, responses without their one
    bill and with more; dead letters in all."""

    found: int
    twice: int
    unbilled: int
    billed_twice: int
    dead_letters: int


def stored(up: Up, said: Said) -> Stored:
    """What PostgreSQL has of it now."""
    with said.lock:
        spans, responses = list(said.acknowledged.items()), list(said.responses)
    with up.connect() as conn:
        found, rows = _two(conn, _FOUND, ([trace for _, trace in spans], [span for span, _ in spans]))
        more, one = _two(conn, _BILLS, (responses,))
        letters = conn.execute("SELECT count(*) FROM dead_letter").fetchone()
    return Stored(found, rows - found, len(responses) - one - more, more, int(str((letters or (0,))[0])))


def _two(conn: "psycopg.Connection[tuple[object, ...]]", sql: str, values: tuple[object, ...]) -> tuple[int, int]:
    row = conn.execute(sql, values).fetchone()
    assert row is not None
    return int(str(row[0])), int(str(row[1]))


def drained(up: Up, said: Said) -> tuple[Stored, float]:
    """Wait until all that was acknowledged is there, or nothing more comes; and how long it took."""
    began = time.monotonic()
    seen: Stored | None = None
    moved_at = began
    while True:
        with suppress(psycopg.Error, OSError, ValueError, KeyError):
            now = stored(up, said)
            if now.found == said.spans and not now.unbilled:
                return now, time.monotonic() - began
            if seen is None or (now.found, now.unbilled) != (seen.found, seen.unbilled):
                seen, moved_at = now, time.monotonic()
        if time.monotonic() - moved_at > DRAIN_SECONDS:
            return seen or Stored(0, 0, len(said.responses), 0, 0), float("inf")
        time.sleep(0.2)


class Memory:
    """The most that each kind of process took, for the length of the block."""

    def __init__(self, up: Up) -> None:
        self.most_mb = dict.fromkeys(WATCHED, 0.0)
        self._up, self._stop = up, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            for kind in WATCHED:
                for pid in self._up.pids(kind):
                    self.most_mb[kind] = max(self.most_mb[kind], resident_mb([pid]))
