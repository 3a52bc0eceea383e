"""How a process is hit at a moment: it is held (SIGSTOP), one looks where it stands, and kills it there or lets it go.

`receiving`: at a random moment of the load. `appended`: a body is in the journal and its sender knows nothing of it.
`committed`: spans of a batch are in PostgreSQL, the journal's offset is not. `closing`: a day is being closed, or
deltas are being compacted. `starting`: again and again while it starts.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing as closing_at_end
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import psycopg

from llmobs.core.env import Place
from llmobs.ingest.entries import OtlpBody
from llmobs.ingest.journal_folders import owners, segments
from llmobs.ingest.journal_reader import JournalReader
from llmobs.ingest.otlp.decode import decode
from llmobs.rollups.compact import compact_all
from llmobs.rollups.days import close_days
from llmobs.tenants.attribution import Attribution
from tests.bench.faults_load import Said
from tests.bench.faults_platform import Up

MOST_TRIES = 400
LOOK_SECONDS = 20.0  # for a moment to come
SOON_SECONDS = 10.0  # for a backlog's first transaction to be written
MOST_BACKLOGS = 10  # a writer that was held in a short turn waits at its end: the next one is long
SPANS_OF_SEVERAL = 4_500  # more than one transaction of a writer
AGAIN_TIMES = 3  # that a process is killed while it starts
HEARD_SECONDS = 0.15  # in which a sender has noted what was answered before its gateway was held
CLOSER = "fault table: closing"


class NotHit(Exception):
    """The moment did not come: the row says nothing."""


def kill(up: Up, kinds: tuple[str, ...]) -> None:
    """All processes of these kinds at once; `backend`: the writer's connection's alone; `up`: the supervisor."""
    pids = [pid for kind in kinds for pid in _pids(up, kind)]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if "up" in kinds:
        up.was_killed()


def _pids(up: Up, kind: str) -> list[int]:
    if kind == "up":
        return [up.supervisor]
    if kind == "backend":
        return [pid for pid, _ in _backends(up)]
    return up.pids(kind)


def _backends(up: Up) -> list[tuple[int, str]]:
    """PostgreSQL's processes of those who write spans or close days."""
    with suppress(psycopg.Error), up.connect() as conn:
        rows = conn.execute(
            "SELECT pid, application_name FROM pg_stat_activity WHERE backend_type = 'client backend' "
            "AND (application_name = %s OR query ~* 'journal_offset|rollup_delta|COPY') AND pid <> pg_backend_pid()",
            (CLOSER,),
        ).fetchall()
        return [(int(str(pid)), str(name)) for pid, name in rows]
    return []


@contextmanager
def held(pids: list[int]) -> Iterator[None]:
    """They stand still: worse than gone, for nothing tells who waits for them."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


# ---------------------------------------------------------------- the moments


def receiving(up: Up, kinds: tuple[str, ...], said: Said, chance: Random) -> None:
    time.sleep(chance.uniform(0.2, 1.0))
    kill(up, kinds)


def appended(up: Up, kinds: tuple[str, ...], said: Said, chance: Random) -> None:
    """Whoever appends is held as soon as a journal grows; was its sender not answered yet, it dies."""
    doors = [pid for kind in ("gateway", "collector") for pid in up.pids(kind)]
    journal, key = Place(up.data).journal, Place(up.data).secrets().journal_key
    for _ in range(MOST_TRIES):
        before = _sizes(journal)
        until = time.monotonic() + LOOK_SECONDS
        while (after := _sizes(journal)) == before:
            if time.monotonic() > until:
                raise NotHit("no journal grew")
        with held(doors):
            time.sleep(HEARD_SECONDS)
            for path, size in after.items():
                if size > before.get(path, 0) and _is_unheard(path, before.get(path, 0), key, said):
                    kill(up, kinds)
                    return
        time.sleep(chance.uniform(0, 0.02))
    raise NotHit("every body that was appended was answered at once")


def _sizes(journal: Path) -> dict[Path, int]:
    found = {}
    for folder in owners(journal):
        if not folder.name.startswith(("gateway", "otlp")):
            continue
        for _, path in segments(folder)[-1:]:
            with suppress(OSError):
                found[path] = path.stat().st_size
    return found


def _is_unheard(path: Path, offset: int, key: bytes, said: Said) -> bool:
    """Whether the journal's segment holds, after this offset, a body whose sender was told nothing."""
    reader = JournalReader(path.parent, key)
    for _, entry in reader.read(int(path.name[:-4]) + offset).entries:
        if isinstance(entry, OtlpBody):
            spans = decode(entry, Attribution())
            with said.lock:
                return not any(span.span_id in said.acknowledged for span in spans)
    return False


def committed(up: Up, kinds: tuple[str, ...], said: Said, chance: Random) -> None:
    """Behind a backlog of several transactions: after one of them and before the last, which has the offset.

    The offsets' rows are locked while the writers are held: each comes as far as its last transaction and waits.
    """
    for _ in range(MOST_BACKLOGS):
        writers = up.pids("writer")
        with closing_at_end(up.connect()) as conn:
            with held(writers):
                _wait_backlog(up, said, SPANS_OF_SEVERAL * len(writers))
                conn.execute("BEGIN")
                try:
                    conn.execute("SELECT 1 FROM journal_offset ORDER BY owner FOR UPDATE NOWAIT")
                except psycopg.errors.LockNotAvailable:  # one was held in its last transaction, which ends now
                    continue
                before = _written(conn)
            until = time.monotonic() + SOON_SECONDS
            while time.monotonic() < until:
                spans, offset = _written(conn)
                if spans != before[0] and offset == before[1]:
                    kill(up, kinds)
                    _let_nobody_end(conn)
                    return
    raise NotHit("no batch of several transactions")


def _let_nobody_end(conn: "psycopg.Connection[tuple[object, ...]]") -> None:
    """Who waits for the offsets would commit when they are free, though its writer is gone."""
    with suppress(psycopg.Error):
        conn.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        )


def _wait_backlog(up: Up, said: Said, spans: int) -> None:
    """Until so many spans wait for the writers."""
    aim, until = said.spans + spans, time.monotonic() + 2 * LOOK_SECONDS
    while said.spans < aim and time.monotonic() < until:
        time.sleep(0.05)


def _written(conn: "psycopg.Connection[tuple[object, ...]]") -> tuple[object, object]:
    """Spans that are stored, and how far the journals are written: one look at both.

    Of the roll-ups, which are written with the spans, compacted or not: counting spans would slow the writers.
    """
    row = conn.execute(
        "SELECT (SELECT sum(spans) FROM (SELECT spans FROM rollup_delta UNION ALL SELECT spans FROM rollup_minute) r), "
        "(SELECT sum(committed) FROM journal_offset)"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def closing(up: Up, kinds: tuple[str, ...], said: Said, chance: Random) -> None:
    """While deltas are compacted and yesterday is closed, in a transaction that has written already."""
    stop = threading.Event()
    thread = threading.Thread(target=_close_on, args=(up, stop))
    thread.start()
    try:
        with up.connect() as conn:
            until = time.monotonic() + LOOK_SECONDS
            while time.monotonic() < until:
                found = conn.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND backend_xid IS NOT NULL", (CLOSER,)
                ).fetchone()
                if found:
                    kill(up, kinds)
                    return
        raise NotHit("nothing was compacted")
    finally:
        stop.set()
        thread.join()


def _close_on(up: Up, stop: threading.Event) -> None:
    while not stop.wait(0.02):
        with (
            suppress(psycopg.Error, OSError),
            psycopg.connect(up.database_url, autocommit=True, application_name=CLOSER) as conn,
        ):
            while not stop.wait(0.02):
                compact_all(conn)
                close_days(conn, datetime.now(UTC))


def starting(up: Up, kinds: tuple[str, ...], said: Said, chance: Random) -> None:
    """Killed, and killed again as soon as each is there again."""
    for _ in range(AGAIN_TIMES):
        before = {pid for kind in kinds for pid in _pids(up, kind)}
        kill(up, kinds)
        if "up" in kinds:
            up.start()
        until = time.monotonic() + LOOK_SECONDS
        while not ({pid for kind in kinds for pid in _pids(up, kind)} - before) and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 1.0))
    kill(up, kinds)


MOMENTS: dict[str, Callable[[Up, tuple[str, ...], Said, Random], None]] = {
    "receiving": receiving,
    "appended": appended,
    "committed": committed,
    "closing": closing,
    "starting": starting,
}
