"""Several writer processes on one host's journals: each has its share, one is killed, and nothing is lost or twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from llmobs.core.env import Place
from llmobs.ingest.journal import JournalWriter
from llmobs.ops.verify import verify
from tests.ingest.making import begin, end, make_tenant, otlp, sums

JOURNALS, ROUNDS = 4, 60
PATIENCE_SECONDS = 180

Connection = psycopg.Connection[Any]
Start = Callable[[int], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(pg: Connection, valkey: object, database_url: str, valkey_url: str, tmp_path: Path) -> Iterator[Start]:
    """Starts the writer of a number; all are ended with the test."""
    make_tenant(pg)
    named = {"LLMOBS_DATA": str(tmp_path), "DATABASE_URL": database_url, "VALKEY_URL": valkey_url}
    Place(tmp_path).secrets()  # made once, before two processes would make them
    children = []

    def started(number: int) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "llmobs.ingest", "--number", str(number)]
        children.append(subprocess.Popen(command, env={**os.environ, **named}))
        return children[-1]

    yield started
    for child in children:
        child.kill()
        child.wait()


@pytest.fixture
def journals(tmp_path: Path) -> Iterator[list[JournalWriter]]:
    place = Place(tmp_path)
    made = [JournalWriter(place.journal / f"gateway-{n}", place.secrets().journal_key) for n in range(JOURNALS)]
    yield made
    for journal in made:
        journal.close()


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def folders_of(pid: int, place: Place) -> set[str]:
    """The journals that a process has open, as it has those that it writes."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = link.readlink()
        except OSError:  # closed meanwhile
            continue
        if target.parent == place.journal and not target.name.startswith("."):
            found.add(target.name)
    return found


def traffic(journals: list[JournalWriter]) -> int:
    """A call and a report into each; how many spans it is."""
    for journal in journals:
        begun = begin()
        for entry in (begun, end(begun), otlp()):
            journal.append(entry)
    return 2 * len(journals)


def test_one_of_two_is_killed_under_load_and_each_span_is_written_once(
    pg: Connection, tmp_path: Path, start: Start, journals: list[JournalWriter]
) -> None:
    place = Place(tmp_path)
    first, second = start(1), start(2)

    def shares() -> list[int]:
        return sorted(len(folders_of(child.pid, place)) for child in (first, second) if child.poll() is None)

    wait_until(lambda: shares() == [2, 2])
    assert folders_of(first.pid, place).isdisjoint(folders_of(second.pid, place))
    sent = sum(traffic(journals) for _ in range(ROUNDS))
    wait_until(lambda: sums(pg).spans > 0)
    first.kill()
    first.wait()
    sent += sum(traffic(journals) for _ in range(ROUNDS))
    wait_until(lambda: sums(pg).spans == sent)  # the second goes on with what the first had
    first = start(1)
    wait_until(lambda: shares() == [2, 2])
    sent += sum(traffic(journals) for _ in range(ROUNDS))
    wait_until(lambda: sums(pg).spans == sent)
    assert sums(pg).bills == sent
    assert verify(pg).differences == []


def test_dead_owners_journals_are_ended_by_one_of_them(
    pg: Connection, tmp_path: Path, start: Start, journals: list[JournalWriter]
) -> None:
    children = [start(1), start(2)]
    wait_until(lambda: pg.execute("SELECT count(*) FROM heartbeat WHERE kind = 'writer'").fetchone() == (2,))
    sent = traffic(journals)
    journals[0].append(begin())  # open when its gateway dies: billed at its hold
    for journal in journals:
        journal.close()
    wait_until(lambda: not list(Place(tmp_path).journal.glob("gateway-*")))
    for child in children:
        child.send_signal(signal.SIGTERM)
    assert [child.wait(PATIENCE_SECONDS) for child in children] == [0, 0]
    assert (sums(pg).spans, sums(pg).bills) == (sent + 1, sent + 1)
    assert pg.execute("SELECT count(*) FROM heartbeat").fetchone() == (0,)
    assert pg.execute("SELECT count(*) FROM journal_offset").fetchone() == (0,)
    assert list(Place(tmp_path).journal.glob(".suspects*")) == []
