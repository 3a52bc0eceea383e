"""Dead letters: listed with their reason, replayed once each after a fix, dropped, by command and in the admin."""

import json
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import Client

from llmobs.core.clock import now_ns
from llmobs.ingest.entries import OtlpBody, OtlpLogs
from llmobs.ingest.journal import JournalWriter
from llmobs.ingest.otlp.decode import decode
from llmobs.ingest.replay import Replayer
from llmobs.ingest.writing import Writer
from llmobs.keeping import letters
from llmobs.keeping.connecting import connect, first_to_replay
from llmobs.keeping.models import DeadLetter
from llmobs.keeping.tasks import replay_letters
from llmobs.ops.verify import verify
from llmobs.tenants.models import AuditEntry, User
from tests.ingest.making import begin, end, journal_folder, make_tenant, otlp, sums
from tests.ingest.otlp.test_logs import JSON, record, request
from tests.keeping.letting import Connection, count
from tests.tenants.cast import assert_problem, make_cast, make_key, with_key


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalWriter]:
    writer = JournalWriter(journal_folder(tmp_path), settings.SECRETS.journal_key)
    yield writer
    writer.close()


@pytest.fixture
def make_writer(pg: Connection, valkey: "redis.Redis", tmp_path: Path) -> Callable[[], Writer]:
    make_tenant(pg)
    return lambda: Writer(tmp_path / "journal", settings.SECRETS, pg, valkey)


@pytest.fixture
def buried(journal: JournalWriter, make_writer: Callable[[], Writer], monkeypatch: pytest.MonkeyPatch) -> OtlpBody:
    """A body of two spans that this version cannot read, until the fault is taken away."""
    body = otlp(count=2)

    def stumbles(entry: OtlpBody, *rest: object) -> object:
        if entry.body == body.body:
            raise KeyError("a shape that nobody foresaw")
        return decode(entry, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("llmobs.ingest.translate.decode", stumbles)
    for each in (otlp(), body, otlp()):
        journal.append(each)
    make_writer().drain()
    return body


def listed() -> list[dict[str, object]]:
    said = StringIO()
    call_command("deadletters", "list", "--json", stdout=said)
    return list(json.loads(said.getvalue())["letters"])


def test_a_letter_is_listed_with_its_reason_size_owner_and_time(pg: Connection, buried: OtlpBody) -> None:
    assert sums(pg).spans == 2
    [letter] = listed()
    assert (letter["tenant"], letter["kind"], letter["owner"]) == ("tenant-1", "OtlpBody", "gateway-1")
    assert letter["reason"] == "it does not decode: KeyError"
    assert int(str(letter["bytes"])) > len(buried.body)
    assert letter["at"]


def test_a_replay_before_the_fix_keeps_it_and_after_the_fix_writes_it_once(
    pg: Connection, buried: OtlpBody, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CommandError, match="waits on"):
        call_command("deadletters", "replay", "--all", stdout=StringIO())
    assert DeadLetter.objects.get().tries == 1
    monkeypatch.undo()
    call_command("deadletters", "replay", "--all", stdout=StringIO())
    assert (sums(pg).spans, sums(pg).bills) == (4, 4)
    assert listed() == []
    pg.execute("UPDATE dead_letter SET replayed_at = NULL")  # as if two had read it at once
    assert Replayer(pg, settings.SECRETS).replay(DeadLetter.objects.get().pk).error  # its body is not kept
    assert (sums(pg).spans, sums(pg).bills) == (4, 4)
    assert verify(pg).differences == []
    told = AuditEntry.objects.filter(action="replay").order_by("pk").values_list("change", flat=True)
    assert [each["error"][1] for each in told] == ["it does not decode: KeyError", ""]


def test_spans_that_came_another_way_meanwhile_are_not_written_twice(
    pg: Connection,
    buried: OtlpBody,
    journal: JournalWriter,
    make_writer: Callable[[], Writer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    journal.append(buried)
    make_writer().drain()
    said = StringIO()
    call_command("deadletters", "replay", str(DeadLetter.objects.get().pk), stdout=said)
    assert "0 spans new, 2 known" in said.getvalue()
    assert (sums(pg).spans, sums(pg).bills) == (4, 4)


def test_a_buried_attempt_is_billed_at_its_replay(
    pg: Connection,
    journal: JournalWriter,
    make_writer: Callable[[], Writer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses(*_: object) -> None:
        raise ValueError("not now")

    monkeypatch.setattr("llmobs.ingest.translate.ended_span", refuses)
    begun = begin()
    journal.append(begun)
    journal.append(end(begun))
    make_writer().drain()
    assert sums(pg).bills == 0
    monkeypatch.undo()
    call_command("deadletters", "replay", "--tenant", "tenant-1", stdout=StringIO())
    assert sums(pg).bills == 1
    assert verify(pg).differences == []


def test_an_end_without_its_begin_says_so_and_can_be_dropped(
    pg: Connection, journal: JournalWriter, make_writer: Callable[[], Writer]
) -> None:
    journal.append(end(begin()))
    make_writer().drain()
    with pytest.raises(CommandError):
        call_command("deadletters", "replay", "--all", stdout=StringIO())
    [letter] = listed()
    assert (letter["tenant"], letter["reason"]) == ("", "an attempt's end without its begin")
    with pytest.raises(CommandError, match="--all"):
        call_command("deadletters", "drop", stdout=StringIO())
    call_command("deadletters", "drop", "--all", stdout=StringIO())
    assert count(pg, "dead_letter") == 0
    assert AuditEntry.objects.filter(action="drop").count() == 1


def test_operators_replay_in_the_admin_and_others_do_not_get_in(
    pg: Connection, buried: OtlpBody, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    monkeypatch.undo()
    address = "/admin/keeping/deadletter/"
    asked = {"action": "replay", "_selected_action": [DeadLetter.objects.get().pk]}
    client.force_login(User.objects.create_user("charlie"))
    assert client.post(address, asked).status_code in (302, 403)
    assert count(pg, "dead_letter", "replayed_at IS NULL") == 1
    client.force_login(User.objects.create_user("olga", is_staff=True))
    page = client.get(address).content.decode()
    assert "it does not decode: KeyError" in page
    assert "gateway-1" in page
    with monkeypatch.context() as walled:  # the web asks; it has no connection of the owner's
        walled.setattr("llmobs.keeping.letters.connect", None)
        assert client.post(address, asked).status_code == 302
    assert sums(pg).spans == 2
    replay_letters()
    replay_letters()
    assert sums(pg).spans == 4
    assert [*AuditEntry.objects.filter(action="replay").values_list("actor", flat=True)] == ["olga"]
    assert client.get(f"{address}{asked['_selected_action'][0]}/change/").status_code == 200


def test_a_replayed_body_is_kept_as_it_came_and_its_logs_wait_for_their_spans(
    pg: Connection, journal: JournalWriter, make_writer: Callable[[], Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = make_writer()
    pg.execute("UPDATE tenants_tenant SET raw_body_days = 7")
    said = record("gen_ai.user.message", {"content": "hello"}, now_ns())

    def stumbles(*_: object) -> object:
        raise KeyError("a shape that nobody foresaw")

    with monkeypatch.context() as fault:
        fault.setattr("llmobs.ingest.translate.decode", stumbles)
        fault.setattr("llmobs.ingest.translate.decode_logs", stumbles)
        journal.append(otlp())
        journal.append(OtlpLogs(1, 7, now_ns(), JSON, request(said)))
        writer.drain()
    assert (count(pg, "dead_letter"), count(pg, "raw_body"), count(pg, "log_record")) == (2, 0, 0)
    call_command("deadletters", "replay", "--all", stdout=StringIO())
    assert (count(pg, "span"), count(pg, "raw_body"), count(pg, "log_record")) == (1, 1, 1)


def test_they_are_listed_and_replayed_over_rest_by_whom_they_concern(
    pg: Connection, journal: JournalWriter, valkey: "redis.Redis", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast = make_cast()
    make_key(None, "root", "root")
    body = otlp(tenant_id=cast.acme.pk, count=2)

    def stumbles(*_: object) -> object:
        raise KeyError("a shape that nobody foresaw")

    with monkeypatch.context() as fault:
        fault.setattr("llmobs.ingest.translate.decode", stumbles)
        journal.append(body)
        journal.append(OtlpBody(cast.acme.pk, 7, now_ns(), "application/json", b'{"@opentelemetry/x-ai'))
        Writer(tmp_path / "journal", settings.SECRETS, pg, valkey).drain()
    first, second = with_key("root").get("/api/v1/dead-letters/?tenant=acme").json()["results"]
    by_library = {each["library"]: each for each in (first, second)}
    assert by_library.keys() == {"s", "@opentelemetry/x-ai"}
    letter = by_library["s"]
    assert (letter["tenant"], letter["reason"]) == ("acme", "it does not decode: KeyError")
    assert letter["bytes"] > len(body.body)
    address = f"/api/v1/dead-letters/{letter['id']}/"
    assert with_key("acme").get(address).status_code == 200
    assert with_key("globex").get("/api/v1/dead-letters/").json()["results"] == []
    for method in ("get", "delete"):
        assert_problem(getattr(with_key("globex"), method)(address), 404)
    assert_problem(with_key("globex").post(f"{address}replay/"), 404)
    assert_problem(with_key("acme").post(f"{address}replay/"), 403)
    assert_problem(with_key("acme").delete(address), 403)
    with monkeypatch.context() as walled:
        walled.setattr("llmobs.keeping.letters.connect", None)
        told = with_key("root").post(f"{address}replay/")
    assert (told.status_code, told.json()["replayed_at"]) == (202, None)
    assert told.json()["asked_at"] is not None
    replay_letters()
    assert sums(pg).spans == 2
    assert with_key("root").get(address).json()["asked_at"] is None
    assert with_key("root").get(address).json()["replayed_at"] is not None
    other = f"/api/v1/dead-letters/{by_library['@opentelemetry/x-ai']['id']}/"
    assert with_key("root").delete(other).status_code == 204
    assert_problem(with_key("root").get(other), 404)
    assert set(AuditEntry.objects.values_list("action", flat=True)) >= {"replay", "drop"}


def test_what_fails_again_at_the_worker_is_asked_for_no_more_and_says_why(
    pg: Connection, buried: OtlpBody, client: Client
) -> None:
    client.force_login(User.objects.create_user("olga", is_staff=True))
    asked = {"action": "replay", "_selected_action": [DeadLetter.objects.get().pk]}
    client.post("/admin/keeping/deadletter/", asked)
    replay_letters()
    replay_letters()
    letter = DeadLetter.objects.get()
    assert (letter.tries, letter.asked_at, letter.asked_by) == (1, None, "")
    assert letter.reason == "it does not decode: KeyError"
    [entry] = AuditEntry.objects.filter(action="replay")
    assert entry.change["error"][1] == "it does not decode: KeyError"


def test_what_another_has_replayed_meanwhile_is_told_once(
    pg: Connection, buried: OtlpBody, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two had chosen it; who comes second finds it written."""
    monkeypatch.undo()
    first, second = (letters.replay(DeadLetter.objects.all(), actor) for actor in ("alice", "bob"))
    assert [(done.spans, done.by_others) for done in first + second] == [(2, False), (0, True)]
    assert [entry.actor for entry in AuditEntry.objects.filter(action="replay")] == ["alice"]


def test_two_tasks_do_not_replay_at_once(pg: Connection, buried: OtlpBody, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first takes longer than the pause between two: the letter would be tried again, and told twice."""
    letters.ask(DeadLetter.objects.all(), "alice")
    with connect() as conn:
        assert first_to_replay(conn)
        assert letters.go_on() == 0
        assert not AuditEntry.objects.filter(action="replay").exists()
    monkeypatch.undo()
    assert (letters.go_on(), letters.go_on()) == (1, 0)
    assert AuditEntry.objects.filter(action="replay").count() == 1
