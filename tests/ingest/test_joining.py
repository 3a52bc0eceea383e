"""Content that came as log records meets its span (PAINS 48), in any order of arrival, once, and within bounds."""

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from llmobs.core.clock import now_ns
from llmobs.core.env import Secrets
from llmobs.ingest import joiner, joining, log_records
from llmobs.ingest.entries import Entry, OtlpBody, OtlpLogs
from llmobs.ingest.joining import join_all
from llmobs.ingest.journal import JournalWriter
from llmobs.ingest.writing import Writer
from llmobs.ops.verify import verify
from llmobs.spans.blocks import read_content
from tests.ingest.making import call, commit, journal_folder, make_tenant, otlp
from tests.ingest.otlp.captured import FOLDER, bodies
from tests.ingest.otlp.test_logs import JSON, NOW_NS, record, request

Connection = psycopg.Connection[Any]
KEY = bytes(range(32))
CASE = "otel-openai-v2-content-logs"
PROTOBUF = "application/x-protobuf"
TRACE, SPAN = b"\x0a" * 16, b"\x0b" * 8


class World:
    """A writer with its journal."""

    def __init__(self, conn: Connection, client: "redis.Redis", folder: Path) -> None:
        self.conn = conn
        self._now = datetime.now(UTC)
        self.journal = JournalWriter(journal_folder(folder), KEY)
        self._writer = Writer(folder / "journal", Secrets("secret", (), KEY, "", "", ""), conn, client)

    def write(self, *entries: Entry) -> None:
        for entry in entries:
            self.journal.append(entry)
        self._writer.drain()

    def join(self) -> int:
        self._now += timedelta(seconds=60)
        return join_all(self.conn, self._now)

    def content(self, span_id: bytes = SPAN, tenant_id: int = 1) -> tuple[Any, Any]:
        row = self.conn.execute(
            "SELECT block_id, block_slot, start FROM span WHERE tenant_id = %s AND span_id = %s", (tenant_id, span_id)
        ).fetchone()
        assert row is not None
        if row[0] is None:
            return None, None
        found = read_content(self.conn, tenant_id, row[0], row[2].astimezone(UTC).date(), row[1])
        return tuple(None if side is None else json.loads(side) for side in found)  # type: ignore[return-value]

    def kept(self) -> int:
        row = self.conn.execute("SELECT count(*) FROM log_record").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def world(pg: Connection, valkey: "redis.Redis", tmp_path: Path) -> Iterator[World]:
    for tenant_id, policy in enumerate(("full", "redacted", "hash", "none"), 1):
        make_tenant(pg, tenant_id, content=policy)
    made = World(pg, valkey, tmp_path)
    yield made
    made.journal.close()


def logs(*records: dict[str, Any], tenant_id: int = 1) -> OtlpLogs:
    return OtlpLogs(tenant_id, 7, now_ns(), JSON, request(*records))


def user(text: str, at: int = 0) -> dict[str, Any]:
    return record("gen_ai.user.message", {"content": text}, NOW_NS + at)


def choice(text: str, at: int = 9) -> dict[str, Any]:
    return record("gen_ai.choice", {"index": 0, "message": {"content": text}}, NOW_NS + at)


def said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def put_span(world: World, tenant_id: int = 1, **changes: Any) -> None:
    own = {"input": None, "output": None, **changes}
    commit(world.conn, call(tenant_id, trace_id=TRACE, span_id=SPAN, start_ns=NOW_NS - 10**6, **own))


def test_what_a_real_library_sends_apart_is_shown_together(world: World) -> None:
    received = now_ns()
    traces = [OtlpBody(1, 7, received, kind, body) for body, kind in bodies(CASE)]
    sent_logs = OtlpLogs(1, 7, received, PROTOBUF, (FOLDER / CASE / "logs.bin").read_bytes())
    world.write(sent_logs, *traces)
    world.join()
    rows = world.conn.execute("SELECT span_id, preview FROM span WHERE is_call ORDER BY start").fetchall()
    first = bytes(rows[0][0])
    assert rows[0][1] == "What is the capital of France?"
    given, answer = world.content(first)
    assert given == [said("system", "You are terse."), said("user", "What is the capital of France?")]
    assert answer == [{**said("assistant", "The capital of France is Paris."), "finish_reason": "stop"}]
    assert verify(world.conn).differences == []


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_any_order_of_arrival_comes_to_the_same(world: World, order: tuple[int, ...]) -> None:
    arrivals: list[Callable[[], None]] = [
        lambda: put_span(world),
        lambda: world.write(logs(user("one"), user("two", 1))),
        lambda: world.write(logs(choice("three"))),
    ]
    for step in order:
        arrivals[step]()
        world.join()
    assert world.content() == ([said("user", "one"), said("user", "two")], [said("assistant", "three")])


def test_a_late_message_takes_its_place_by_time(world: World) -> None:
    put_span(world)
    world.write(logs(user("second", 5)))
    world.join()
    world.write(logs(user("first", 1)))
    world.join()
    assert world.content()[0] == [said("user", "first"), said("user", "second")]
    blocks = world.conn.execute("SELECT count(*) FROM payload_block").fetchone()
    assert blocks == (1,)  # written anew in its place: nothing is left behind that an erasure would miss


def test_sent_again_it_is_there_once(world: World) -> None:
    put_span(world)
    sent = logs(user("one"), choice("two"))
    world.write(sent)
    world.join()
    world.write(sent)
    world.join()
    assert world.content() == ([said("user", "one")], [said("assistant", "two")])


def test_a_side_that_the_span_brought_itself_stays(world: World) -> None:
    own = json.dumps([said("user", "the span's own")])
    put_span(world, input=own)
    world.write(logs(user("the event's"), choice("answer")))
    world.join()
    assert world.content() == ([said("user", "the span's own")], [said("assistant", "answer")])


def test_a_record_with_all_of_a_side_stands_for_the_rest(world: World) -> None:
    whole = record(
        "gen_ai.client.inference.operation.details", None, NOW_NS + 5,
        {"gen_ai.input.messages": json.dumps([said("user", "all of it")])},
    )  # fmt: skip
    put_span(world)
    world.write(logs(user("all of it"), whole))
    world.join()
    assert world.content()[0] == [said("user", "all of it")]


@pytest.mark.parametrize(("tenant_id", "shows"), [(2, "mail [EMAIL_1]"), (3, "hmac-sha256:"), (4, "")])
def test_the_tenants_policy_holds_for_logs_as_for_spans(world: World, tenant_id: int, shows: str) -> None:
    put_span(world, tenant_id)
    world.write(logs(user("mail bob@example.com"), choice("done"), tenant_id=tenant_id))
    stored = world.conn.execute("SELECT messages FROM log_record").fetchall()
    assert "bob@example.com" not in str(stored)
    world.join()
    assert "bob@example.com" not in str(world.content(tenant_id=tenant_id))
    preview = world.conn.execute("SELECT preview FROM span").fetchone()
    assert preview is not None
    assert preview[0].startswith(shows)
    assert bool(preview[0]) == bool(shows)


def test_another_tenants_span_of_the_same_ids_is_left_alone(world: World) -> None:
    put_span(world, 2)
    world.write(logs(user("mine")))
    world.join()
    assert world.content(tenant_id=2) == (None, None)


def test_the_guards_look_at_it_as_at_any_content(world: World) -> None:
    world.conn.execute("UPDATE tenants_tenant SET sensitive_input = 'log'")
    world._writer._translator.config = world._writer._load_config()
    put_span(world)
    sent = logs(user("mail bob@example.com"))
    world.write(sent)
    world.write(sent)
    found = world.conn.execute("SELECT kind, place, trace_id FROM security_event").fetchall()
    assert found == [("personal_data", "input", TRACE)]


def test_content_that_was_erased_does_not_come_back(world: World) -> None:
    put_span(world)
    world.write(logs(user("one")))
    world.join()
    world.conn.execute("DELETE FROM payload_block")
    world.write(logs(user("late", 1), choice("late")))
    world.join()
    assert world.conn.execute("SELECT count(*) FROM payload_block").fetchone() == (0,)
    assert world.kept() == 0


def test_a_span_that_never_comes_is_looked_for_ever_more_seldom_and_then_let_go(world: World) -> None:
    world.write(logs(user("one")))
    now = datetime.now(UTC)
    looks = 0
    for second in range(120):
        before = world.conn.execute("SELECT tries FROM log_record").fetchone()
        join_all(world.conn, now + timedelta(seconds=second))
        looks += world.conn.execute("SELECT tries FROM log_record").fetchone() != before
    assert 5 < looks < 12
    join_all(world.conn, now + log_records.KEPT + timedelta(seconds=1))
    assert world.kept() == 0


def test_no_more_than_so_many_wait_for_a_tenant(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_records, "MOST_OF_A_TENANT", 3)
    world.write(logs(*(user(f"m{number}", number) for number in range(5))))
    world.write(logs(user("other"), tenant_id=2))
    waiting = dict(world.conn.execute("SELECT tenant_id, count(*) FROM log_record GROUP BY 1").fetchall())
    assert waiting == {1: 3, 2: 1}


def test_many_spans_are_joined_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "MOST_SPANS", 40)
    spans = [call(start_ns=NOW_NS - 10**6, input=None, output=None) for _ in range(130)]
    commit(world.conn, *spans)
    ids = [{"traceId": span.trace_id.hex(), "spanId": span.span_id.hex()} for span in spans]
    world.write(logs(*({**user(f"of {number}"), **own} for number, own in enumerate(ids))))
    while world.join():
        pass
    assert [world.content(span.span_id)[0] for span in spans] == [[said("user", f"of {n}")] for n in range(130)]


def test_a_batch_does_not_wait_for_content_that_is_being_joined(world: World, database_url: str) -> None:
    put_span(world)
    world.write(logs(user("one")))
    with psycopg.connect(database_url) as other:  # somebody reads or changes that very span, for long
        other.execute("SELECT FROM span WHERE span_id = %s FOR UPDATE", (SPAN,))
        world.conn.execute("SET lock_timeout = '1ms'")
        world.write(otlp(count=3))
        world.conn.execute("RESET lock_timeout")
    assert world.conn.execute("SELECT count(*) FROM span").fetchone() == (4,)


def test_the_joiner_joins_in_a_connection_of_its_own_and_comes_back_to_it(
    world: World, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_span(world)
    world.write(logs(user("one")))
    looked, real = threading.Event(), joining.join_all
    failures = [psycopg.OperationalError("away"), ValueError("a shape that nobody foresaw")]

    def join(conn: Connection, now: datetime) -> int:
        if failures:
            raise failures.pop()
        assert conn is not world.conn
        joined = real(conn, now)
        looked.set()
        return joined

    monkeypatch.setattr(joiner, "join_all", join)
    monkeypatch.setattr(joiner, "AWAY_SECONDS", 0.01)
    with joiner.Joiner(database_url):
        assert looked.wait(timeout=30)
    assert world.content()[0] == [said("user", "one")]
    assert [thread for thread in threading.enumerate() if thread.name == "joiner"] == []
