"""Several hosts at once: each with journals and a writer of its own, on one PostgreSQL and one ledger."""

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import redis

from llmobs.core.clock import NS_PER_SECOND
from llmobs.core.env import Secrets
from llmobs.core.ids import new_span_id, new_trace_id
from llmobs.ingest.entries import Entry, OtlpBody
from llmobs.ingest.journal import JournalWriter
from llmobs.ingest.writing import Writer
from llmobs.ops.verify import verify
from tests.ingest.making import START_NS, begin, end, make_tenant, sums

Connection = psycopg.Connection[Any]
KEY = bytes(range(32))
SECRETS = Secrets("secret", (), KEY, "", "", "")
TRACES, DEPTH, SENDERS = 12, 4, 3
Names = tuple[bytes, bytes, bytes | None]  # trace, span, parent


class Host:
    """A data folder, one owner that appends, and a writer with a connection of its own."""

    def __init__(self, folder: Path, conn: Connection, client: redis.Redis, name: str) -> None:
        self.folder, self.conn, self.client, self.name = folder, conn, client, name
        self.journal = JournalWriter(folder / "journal" / f"gateway-{name}", KEY)
        self.writer = self.begin_anew()

    def begin_anew(self) -> Writer:
        """A writer that knows nothing of the one before."""
        self.writer = Writer(self.folder / "journal", SECRETS, self.conn, self.client, f"writer-{self.name}")
        return self.writer


@pytest.fixture
def hosts(pg: Connection, database_url: str, valkey: "redis.Redis", tmp_path: Path) -> Iterator[list[Host]]:
    make_tenant(pg)
    make_tenant(pg, 2)
    conns = [psycopg.connect(database_url, autocommit=True) for _ in "ab"]
    made = [Host(tmp_path / name, conn, valkey, name) for name, conn in zip("ab", conns, strict=True)]
    yield made
    for host in made:
        host.journal.close()
        host.conn.close()


def reported(tenant_id: int, *named: Names) -> OtlpBody:
    """One OTLP request: each span a call with its own usage, below its parent."""
    spans = [
        {
            "traceId": trace.hex(),
            "spanId": span.hex(),
            **({"parentSpanId": parent.hex()} if parent else {}),
            "name": "chat",
            "startTimeUnixNano": str(START_NS),
            "endTimeUnixNano": str(START_NS + NS_PER_SECOND),
            "attributes": [
                {"key": "gen_ai.operation.name", "value": {"stringValue": "chat" if parent else "invoke_agent"}},
                {"key": "gen_ai.provider.name", "value": {"stringValue": "openai"}},
                {"key": "gen_ai.request.model", "value": {"stringValue": "gpt-4o-mini"}},
                {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "40"}},
                {"key": "gen_ai.usage.output_tokens", "value": {"intValue": "20"}},
            ],
        }
        for trace, span, parent in named
    ]
    body = msgspec.json.encode({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "s"}, "spans": spans}]}]})
    return OtlpBody(tenant_id, 7, START_NS + 2 * NS_PER_SECOND, "application/json", body)


def families() -> list[tuple[int, list[Names]]]:
    """Traces: an agent's span that sums its calls', and the calls below it."""
    found = []
    for number in range(TRACES):
        trace, root = new_trace_id(), new_span_id()
        calls: list[Names] = [(trace, new_span_id(), root) for _ in range(DEPTH)]
        found.append((1 + number % 2, [(trace, root, None), *calls]))
    return found


def scattered(chance: random.Random) -> tuple[list[list[Entry]], int]:
    """What each host is sent: every span several times, parents and children apart; and calls of gateways, told twice.

    How many calls there are in truth comes with it.
    """
    sent: list[list[Entry]] = [[], []]
    calls = 0
    for tenant_id, family in families():
        calls += DEPTH
        for _ in range(SENDERS):
            for names in family:
                sent[chance.randrange(2)].append(reported(tenant_id, names))
    for number in range(TRACES):
        begun = begin(1 + number % 2)
        calls += 1
        here = chance.randrange(2)
        sent[here] += [begun, end(begun)]
        for there in range(2):  # the application's own report of the same call
            sent[there].append(reported(begun.tenant_id, (begun.trace_id, begun.attempt, None)))
    return sent, calls


def at_once(*works: Callable[[], object]) -> None:
    failed: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # told to the test below
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def works(host: Host, entries: list[Entry], chance: random.Random, is_killed: bool) -> None:
    """Append a few, write a few; once in the middle the writer is gone, with what it had in memory."""
    for number, entry in enumerate(entries):
        host.journal.append(entry)
        if chance.random() < 0.3:
            host.writer.turn()
        if is_killed and number == len(entries) // 2:
            host.writer._read()
            host.begin_anew()
    host.writer.drain()


@pytest.mark.parametrize("seed", range(4))
def test_two_hosts_write_the_same_spans_at_once_and_each_call_counts_once(
    seed: int, pg: Connection, hosts: list[Host]
) -> None:
    chance = random.Random(seed)
    sent, calls = scattered(chance)
    chances = [random.Random(seed * 2 + n) for n in range(2)]
    at_once(
        *(
            lambda host=host, entries=entries, own=own, n=n: works(host, entries, own, n == seed % 2)
            for n, (host, entries, own) in enumerate(zip(hosts, sent, chances, strict=True))
        )
    )
    found = sums(pg)
    assert (found.counted, found.bills) == (calls, calls)
    assert pg.execute("SELECT count(*) FROM dead_letter").fetchone() == (0,)
    assert pg.execute(
        "SELECT count(*) FROM (SELECT FROM span GROUP BY tenant_id, trace_id, span_id HAVING count(*) > 1) d"
    ).fetchone() == (0,)
    assert verify(pg).differences == []


def test_two_writers_on_one_journal_write_it_once(pg: Connection, hosts: list[Host]) -> None:
    """Which the lock on the folder prevents; a folder that two hosts mount has no such lock."""
    here, there = hosts
    other = Writer(here.folder / "journal", SECRETS, there.conn, there.client, "writer-of-another")
    for _ in range(20):
        begun = begin()
        here.journal.append(begun)
        here.journal.append(end(begun))
    at_once(here.writer.drain, other.drain)
    here.writer.drain()
    assert (sums(pg).spans, sums(pg).bills) == (20, 20)
    assert verify(pg).differences == []


@pytest.mark.parametrize("apart_s", [-7200, -90, 90, 7200])
def test_clocks_of_hosts_may_differ_by_hours(apart_s: int, pg: Connection, hosts: list[Host]) -> None:
    """Ids, seals, offsets and claims ask no clock; a call is of the window that its gateway's clock says."""
    for host, skew_s in zip(hosts, (0, apart_s), strict=True):
        trace = new_trace_id()
        for _ in range(3):
            begun = begin(trace_id=trace, start_ns=START_NS + skew_s * NS_PER_SECOND)
            host.journal.append(begun)
            host.journal.append(end(begun))
    at_once(*(host.writer.drain for host in hosts))
    assert (sums(pg).spans, sums(pg).bills) == (6, 6)
    assert verify(pg).differences == []
