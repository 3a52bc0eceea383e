"""The writer as a process: killed at any moment it loses nothing, told to end it drains and says goodbye."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg

from llmobs.core.clock import now_ns
from llmobs.core.env import Place
from llmobs.ingest.entries import OtlpLogs
from llmobs.ingest.journal import JournalWriter
from llmobs.ops.verify import verify
from tests.ingest.making import begin, call, commit, end, make_tenant, sums
from tests.ingest.otlp.test_logs import JSON, record, request

PATIENCE_SECONDS = 120


def start(folder: Path, database_url: str, valkey_url: str) -> "subprocess.Popen[bytes]":
    named = {"LLMOBS_DATA": str(folder), "DATABASE_URL": database_url, "VALKEY_URL": valkey_url}
    return subprocess.Popen([sys.executable, "-m", "llmobs.ingest"], env={**os.environ, **named})


def wait_for(conn: psycopg.Connection[Any], spans: int) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while sums(conn).spans < spans:
        assert time.monotonic() < until, f"{sums(conn).spans} spans of {spans}"
        time.sleep(0.02)


def _owner(conn: psycopg.Connection[Any]) -> str:
    (found,) = conn.execute("SELECT owner FROM heartbeat WHERE kind = 'writer'").fetchall()
    return str(found[0])


def test_killed_in_the_middle_and_started_again_it_writes_all_once(
    pg: psycopg.Connection[Any], valkey: object, database_url: str, valkey_url: str, tmp_path: Path
) -> None:
    make_tenant(pg)
    place = Place(tmp_path)
    journal = JournalWriter(place.journal / "gateway-1", place.secrets().journal_key, segment_bytes=100_000)
    attempts = [begin() for _ in range(600)]
    owners: list[str] = []
    child = start(tmp_path, database_url, valkey_url)
    for number, begun in enumerate(attempts):
        journal.append(begun)
        journal.append(end(begun))
        if number == 300:
            wait_for(pg, 1)
            child.kill()
            child.wait()
            owners.append(_owner(pg))
            child = start(tmp_path, database_url, valkey_url)
    wait_for(pg, 600)
    assert owners == [_owner(pg)], "under another name a recovery of the ledger would wait for the one that was killed"
    journal.close()
    child.send_signal(signal.SIGTERM)
    assert child.wait(PATIENCE_SECONDS) == 0
    assert (sums(pg).spans, sums(pg).bills) == (600, 600)
    assert verify(pg).differences == []
    assert pg.execute("SELECT count(*) FROM heartbeat WHERE pid = %s", (child.pid,)).fetchone() == (0,)


def test_it_joins_log_records_to_their_spans(
    pg: psycopg.Connection[Any], valkey: object, database_url: str, valkey_url: str, tmp_path: Path
) -> None:
    make_tenant(pg)
    place = Place(tmp_path)
    journal = JournalWriter(place.journal / "gateway-1", place.secrets().journal_key)
    spans = [call(input=None, output=None) for _ in range(3)]
    commit(pg, *spans)
    said = [record("gen_ai.user.message", {"content": "hello"}, span.start_ns) for span in spans]
    ids = [{"traceId": span.trace_id.hex(), "spanId": span.span_id.hex()} for span in spans]
    told = request(*({**each, **own} for each, own in zip(said, ids, strict=True)))
    journal.append(OtlpLogs(1, 7, now_ns(), JSON, told))
    journal.close()
    child = start(tmp_path, database_url, valkey_url)
    until = time.monotonic() + PATIENCE_SECONDS
    while pg.execute("SELECT count(*) FROM span WHERE preview = 'hello'").fetchone() != (3,):
        assert time.monotonic() < until
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    assert child.wait(PATIENCE_SECONDS) == 0
