"""A person who came in by every door is in no table, archive, file or key any more; others are as they were."""

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from llmobs.alerts.models import Alert
from llmobs.brake.models import BrakedSession
from llmobs.cache import store
from llmobs.core.clock import now_ns
from llmobs.core.ids import new_span_id, new_trace_id
from llmobs.evals.models import Score
from llmobs.ingest.entries import OtlpBody, OtlpLogs
from llmobs.ingest.joining import join_all
from llmobs.ingest.journal import JournalWriter
from llmobs.ingest.writing import Writer
from llmobs.keeping import erasing_money, erasing_spans, erasures
from llmobs.keeping.erasing import erase
from llmobs.keeping.models import Erasure
from llmobs.keeping.person import Person
from llmobs.keeping.proof import fingerprint
from llmobs.ops.verify import verify
from llmobs.rollups.compact import compact_all
from llmobs.tenants.attribution import Attribution
from llmobs.tenants.models import AuditEntry
from tests.budgets.made import make_budget
from tests.ingest.making import START_NS, begin, call, commit, end, journal_folder, make_tenant, step
from tests.keeping.letting import DAY_NS, Connection, count, run
from tests.keeping.test_erasing import everything

WHO = "ada@example.com"
ADA = Attribution("shop", "production", "support", WHO, f"chat of {WHO} 7", 7)
BOB_THERE = Attribution("shop", "production", "support", "bob", f"chat of {WHO} 7", 7)
BOB = Attribution("shop", "production", "support", "bob", "bobs", 7)
TRACE = new_trace_id()
OLD_NS = START_NS - 3 * DAY_NS


def said(text: str) -> str:
    return json.dumps([{"role": "user", "parts": [{"type": "text", "content": text}]}])


def reported(trace_id: bytes, **attributes: Any) -> OtlpBody:
    """A span of a trace, as an exporter sends it."""
    given = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-mini", **attributes}
    span = {
        "traceId": trace_id.hex(), "spanId": new_span_id().hex(), "name": f"chat for {WHO}" if attributes else "step",
        "startTimeUnixNano": str(START_NS), "endTimeUnixNano": str(START_NS + 10**9),
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in given.items()],
    }  # fmt: skip
    body = msgspec.json.encode({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "s"}, "spans": [span]}]}]})
    return OtlpBody(1, 7, now_ns(), "application/json", body)


def logged(trace_id: bytes, text: str) -> OtlpLogs:
    record = {
        "timeUnixNano": str(START_NS), "traceId": trace_id.hex(), "spanId": new_span_id().hex(),
        "attributes": [{"key": "event.name", "value": {"stringValue": "gen_ai.user.message"}}],
        "body": {"kvlistValue": {"values": [{"key": "content", "value": {"stringValue": text}}]}},
    }  # fmt: skip
    body = msgspec.json.encode({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]})
    return OtlpLogs(1, 7, now_ns(), "application/json", body)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalWriter]:
    writer = JournalWriter(journal_folder(tmp_path), settings.SECRETS.journal_key)
    yield writer
    writer.close()


@pytest.fixture
def traffic(
    pg: Connection, valkey: "redis.Redis", journal: JournalWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Connection:
    """Ada by every door, alone and in others' rows; Bob beside her."""
    monkeypatch.setenv("LLMOBS_ARCHIVE", str(tmp_path / "archive"))
    (tmp_path / "archive").mkdir()
    make_tenant(pg)
    pg.execute("UPDATE tenants_tenant SET raw_body_days = 7, retention_days = 2, archive = 'full'")
    scopes = ("user",), ("session",), ("user", "session"), ("feature", "user")
    for at, each in enumerate(scopes):
        scope = json.dumps(dict.fromkeys(each, "*"))
        limit = {"limit_nanousd": 1} if at == 0 else {}
        make_budget(pg, 1, name=f"b{at}", scope=scope, window="total", counted_at="2020-01-01T00:00:00Z", **limit)
    for who in (ADA, BOB_THERE, BOB):
        begun = begin(attribution=who)
        journal.append(begun)
        body = {"messages": [{"role": "user", "content": f"I am {who.user_id}"}]}
        journal.append(end(begun, request_body=msgspec.json.encode(body)))
    journal.append(reported(TRACE, **{"user.id": WHO, "session.id": "s", "note": f"for {WHO}"}))
    journal.append(reported(TRACE))
    journal.append(reported(new_trace_id(), **{"user.id": "bob", "note": f"ask {WHO}!"}))
    journal.append(logged(TRACE, f"I am {WHO}"))
    journal.append(logged(new_trace_id(), f"where is {WHO}?"))
    journal.append(OtlpBody(1, 7, now_ns(), "application/json", b'{"broken ' + WHO.encode()))
    writer = Writer(tmp_path / "journal", settings.SECRETS, pg, valkey)
    writer.drain()
    join_all(pg, timezone.now() + timedelta(minutes=1))
    for who, text in ((ADA, f"old words of {WHO}"), (BOB, f"{WHO} is not here"), (BOB_THERE, "old words of bob")):
        commit(pg, call(attribution=who, start_ns=OLD_NS, input=said(text), attributes={"x": text}))
    theirs = call(attribution=ADA, start_ns=OLD_NS)
    commit(pg, theirs, step(trace_id=theirs.trace_id, attribution=Attribution("shop"), start_ns=OLD_NS))
    compact_all(pg)
    beside(pg, theirs.trace_id)
    run(pg, tmp_path)  # old days go into the archive
    writer.drain()
    return pg


def beside(pg: Connection, trace_id: bytes) -> None:
    """What people, judges, alerts and guards say of her."""
    now = timezone.now()
    Score.objects.create(tenant_id=1, trace_id=TRACE, name="helpful", comment="She said", details={"r": WHO})
    Score.objects.create(tenant_id=1, trace_id=new_trace_id(), name="tone", comment=f"as {WHO} does", label="ok")
    Alert.objects.create(
        tenant_id=1, kind="budget", dedupe=f"b:{WHO}", title=f"Budget of {WHO}", body={"v": WHO, "n": [f"x {WHO}"]},
        link=f"/usage?user={WHO}", at=now,
    )  # fmt: skip
    AuditEntry.objects.create(tenant_id=1, actor="olga", action="raise", kind="budget", name=WHO, change={"v": [WHO]})
    BrakedSession.objects.create(
        id=trace_id.hex()[:16], tenant_id=1, mark="m", kind="user", key_id=7, user_id=WHO, session_id=f"of {WHO}",
        told=f"{WHO} asked the same", evidence={"who": WHO}, state="noted", begun_at=now, changed_at=now,
    )  # fmt: skip
    pg.execute(
        "INSERT INTO budgets_raise (budget_id, value, starts_at, ends_at, amount, actor, reason, at) "
        "SELECT id, %s, now(), now() + interval '1 day', 5, 'olga', %s, now() FROM budgets_budget WHERE name = 'b0'",
        (WHO, f"{WHO} asked"),
    )
    pg.execute(
        "INSERT INTO security_event (tenant_id, id, at, trace_id, span_id, kind, place, action, name, score_permille, "
        "count, fingerprint, feature, model) SELECT 1, row_number() OVER (), start, trace_id, span_id, 'injection', "
        "'input', 'logged', 'rule', 900, 1, 'f00d', '', '' FROM span WHERE trace_id = %s",
        (TRACE,),
    )
    pg.execute(
        "INSERT INTO verification (verification_id, started_at, finished_at, differences, report) "
        "VALUES (1, now(), now(), 1, %s)",
        (json.dumps([{"where": f"tenant 1, {WHO}"}]),),
    )


def person() -> Person:
    return Person(1, WHO, "erased-0000")


def rows_of_bob(pg: Connection) -> list[str]:
    """Rows that nobody had a reason to touch."""
    found = []
    for table in ("span", "bill", "trace", "rollup_user_day"):
        rows = pg.execute(f"SELECT to_jsonb(t)::text FROM {table} t WHERE user_id = 'bob'").fetchall()
        found += [text for (text,) in rows if WHO not in text]
    return sorted(found)


def money(pg: Connection) -> list[Any]:
    sums = [f"SELECT sum(cost_nanousd) FROM {table}" for table in ("span", "bill", "trace", "rollup_user_day")]
    return [
        pg.execute(query).fetchall() for query in [*sums, "SELECT budget_id, sum(spent) FROM budget_spend GROUP BY 1"]
    ]


def in_files(folder: Path) -> list[str]:
    """Files that hold the id, in whatever form they keep it."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            told = str(pq.read_table(path, partitioning=None).to_pylist()) if path.suffix == ".parquet" else ""
            found += [str(path)] if WHO in told or WHO.encode() in path.read_bytes() else []
    return found


def in_valkey(client: Any) -> list[bytes]:
    readers = {b"string": client.get, b"hash": client.hgetall, b"set": client.smembers}
    ordered = {b"list": lambda name: client.lrange(name, 0, -1), b"zset": lambda name: client.zrange(name, 0, -1)}
    told = {name: str((readers | ordered)[client.type(name)](name)) for name in client.scan_iter()}
    return [name for name, value in told.items() if WHO in value or WHO.encode() in name]


def test_nothing_holds_the_id_and_nobody_else_is_touched(
    traffic: Connection, valkey: "redis.Redis", tmp_path: Path
) -> None:
    assert {"span", "raw_body"} <= {table for table in ("span", "raw_body", "log_record") if count(traffic, table)}
    valkey.set(f"limit:{{1}}:5:{WHO}", 3)
    valkey.hset("brake:{1}:some-mark", "#", f"0102 9999999999 {WHO} asked the same")
    valkey.set(store.entry_key(1, "d1"), "sealed")
    valkey.zadd(store.used_key(1), {"d1": 1})
    valkey.hset("brake:{1}:bobs", "#", "0102 9999999999 bob asked the same")
    assert in_files(tmp_path / "archive") != []
    assert verify(traffic).differences == []
    bob, sums = rows_of_bob(traffic), money(traffic)
    call_command("erase", "--tenant", "tenant-1", "--user", WHO)
    told = everything(traffic)
    assert [line for line in told.split("\n") if WHO in line] == []
    assert "She said" not in told
    assert "f00d" not in told
    assert "I am bob" in told
    assert in_files(tmp_path) == []
    assert in_valkey(valkey) == []
    assert valkey.exists("brake:{1}:bobs") == 1
    assert set(bob) <= set(rows_of_bob(traffic))
    assert money(traffic) == sums
    assert verify(traffic).differences == []
    assert count(traffic, "raw_body") == 0  # three bodies: hers, one of her trace, one that names her
    assert count(traffic, "log_record") == 1
    assert Erasure.objects.get().fingerprint != ""


def test_pages_and_sums_go_on_and_she_may_come_again(traffic: Connection, valkey: "redis.Redis") -> None:
    call_command("erase", "--tenant", "tenant-1", "--user", WHO)
    commit(traffic, call(attribution=ADA))
    assert verify(traffic).differences == []
    call_command("erase", "--tenant", "tenant-1", "--user", WHO)
    assert WHO not in everything(traffic)
    assert verify(traffic).differences == []


def test_one_who_goes_on_meanwhile_is_added_up(traffic: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was killed after her days were renamed, and more of hers since."""
    sums = money(traffic)
    erase(traffic, person())
    commit(traffic, call(attribution=ADA), call(attribution=BOB_THERE))
    erase(traffic, person())
    assert WHO not in everything(traffic)
    assert verify(traffic).differences == []
    assert money(traffic) != sums
    assert count(traffic, "rollup_user_day", "user_id = 'erased-0000'") == len(
        traffic.execute("SELECT DISTINCT day FROM rollup_user_day WHERE user_id = 'erased-0000'").fetchall()
    )


@pytest.mark.parametrize("step", ["_rewrite", "_update", "_beside", "_rename_bills", "_rename_values"])
def test_killed_anywhere_the_next_run_finds_the_rest(
    traffic: Connection, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = erasing_money if hasattr(erasing_money, step) else erasing_spans
    real, calls = getattr(where, step), []

    def killed(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2 or step.startswith("_re"):
            raise KeyboardInterrupt
        return real(*given)

    sums = money(traffic)
    monkeypatch.setattr(where, step, killed)
    with pytest.raises(KeyboardInterrupt):
        erase(traffic, person())
    monkeypatch.undo()
    erase(traffic, person())
    told = everything(traffic)
    assert [line for line in told.split("\n") if WHO in line] == []
    assert "I am ada" not in told
    assert money(traffic) == sums
    assert verify(traffic).differences == []


def test_an_id_that_may_be_any_word_takes_nothing_else_with_it(pg: Connection, valkey: "redis.Redis") -> None:
    make_tenant(pg)
    for name, scope in (("f", '{"feature": "*"}'), ("fu", '{"feature": "*", "user": "*"}'), ("s", '{"session": "*"}')):
        make_budget(pg, 1, name=name, scope=scope, window="total", counted_at="2020-01-01T00:00:00Z")
    support = Attribution("shop", "production", "support", "support", "support 1", 7)
    with_bob = Attribution("shop", "production", "support", "bob", "support 1", 7)
    bob = Attribution("shop", "production", "support", "bob", "support 2", 7)
    commit(
        pg,
        call(attribution=support, input=said("my words")),
        call(attribution=with_bob),
        call(attribution=bob, input=said("call support"), name="support chat", attributes={"role": "support"}),
    )
    call_command("erase", "--tenant", "tenant-1", "--user", "support")
    told = everything(pg)
    assert "my words" not in told
    assert "call support" in told
    assert count(pg, "span", "name = 'support chat' AND session_id = 'support 2'") == 1
    assert count(pg, "span", "user_id = 'support'") == count(pg, "span", "session_id = 'support 1'") == 0
    assert count(pg, "budget_spend", "value = 'support'") == 1  # the feature
    assert verify(pg).differences == []


def test_one_of_whom_only_the_fingerprint_is_known_is_found_by_it(traffic: Connection, valkey: "redis.Redis") -> None:
    for name in (WHO, "nobody"):
        print_ = fingerprint(settings.SECRETS.secret_key, 1, name)
        Erasure.objects.create(tenant_id=1, fingerprint=print_, asked_by="restore")
    erasures.go_on()
    assert WHO not in everything(traffic)
    found = Erasure.objects.order_by("pk")
    assert [bool(each.found) for each in found] == [True, False]
    assert all(each.finished_at and not each.sealed for each in found)


def test_an_archived_file_that_was_copied_before_comes_back_without_her(
    traffic: Connection, valkey: "redis.Redis", tmp_path: Path
) -> None:
    shutil.copytree(tmp_path / "archive", tmp_path / "copy")
    call_command("erase", "--tenant", "tenant-1", "--user", WHO)
    assert in_files(tmp_path / "copy") != []
    said = StringIO()
    call_command("archive", "restore", str(tmp_path / "copy"), stdout=said)
    assert "people who were erased since" in said.getvalue()
    assert count(traffic, "span", "start < now() - interval '2 days'") == 5
    assert WHO not in everything(traffic)
    assert in_files(tmp_path / "copy") == []
    assert verify(traffic).differences == []
