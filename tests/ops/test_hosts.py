"""Hosts: what is said of them, journals of a dead one adopted, a lost one forgotten, and whether one fits."""

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from django.core.management import CommandError, call_command

from llmobs.budgets import sweep
from llmobs.budgets.ledger import HELD, PENDING, budget_key, hand_in
from llmobs.budgets.recovery import open_epoch
from llmobs.budgets.valkey import run
from llmobs.core.clock import NS_PER_SECOND, now_ns
from llmobs.core.env import Place, Secrets
from llmobs.core.marks import differing, marks
from llmobs.ingest.journal import JournalWriter
from llmobs.ingest.writing import Writer
from llmobs.ops import beating, checklist_hosts
from llmobs.ops.checklist import State
from llmobs.ops.hosts import HostError, adopt, hosts, lose
from llmobs.ops.joining import Unfit, look_alike, look_migrated
from llmobs.ops.verify import verify
from tests.ingest.making import begin, end, make_tenant, otlp, sums

Connection = psycopg.Connection[Any]
KEY = bytes(range(32))
SECRETS = Secrets("secret", ("one", "two"), KEY, "", "", "")
ROOT = Path(__file__).parents[2]
LATE = "UPDATE heartbeat SET seen_at = now() - interval '5 min'"


@pytest.fixture
def writer(pg: Connection, valkey: "redis.Redis", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    """Of the host that lives."""
    make_tenant(pg)
    monkeypatch.setenv("LLMOBS_HOST", "here")
    made = Writer(tmp_path / "here" / "journal", SECRETS, pg, valkey, "writer-here")
    made.drain()
    return made


@pytest.fixture
def here(tmp_path: Path) -> Place:
    return Place(tmp_path / "here")


@pytest.fixture
def gone(tmp_path: Path) -> Path:
    """The data folder of a host that died: one call answered, one under way, one report; nothing of it written."""
    journal = JournalWriter(tmp_path / "gone" / "journal" / "gateway-gone", KEY)
    begun = begin()
    for entry in (begun, end(begun), otlp(), begin()):
        journal.append(entry)
    journal.close()
    return tmp_path / "gone"


def seen(pg: Connection, owner: str, host: str, kind: str = "gateway", waiting: int = 0, said: str = "") -> None:
    pg.execute(
        "INSERT INTO heartbeat (owner, kind, host, pid, config_version, waiting_spans, secrets) "
        "VALUES (%s, %s, %s, 1, 1, %s, %s)",
        (owner, kind, host, waiting, said),
    )


def in_ledger(valkey: "redis.Redis", attempt: str, state: str, owner: str, ago_s: int = 0) -> str:
    epoch = open_epoch(valkey)
    assert epoch is not None
    key = budget_key(1, 1, 1, 0, "")
    run(valkey, hand_in(epoch, attempt, state, now_ns() // NS_PER_SECOND - ago_s, owner, [(key, 500)]))
    return key


# ---------------------------------------------------------------- its disk is there


def test_journals_of_a_dead_host_are_written_by_another_once(
    pg: Connection, writer: Writer, here: Place, gone: Path
) -> None:
    assert adopt(pg, here, gone, KEY) == ["gateway-gone"]
    writer._owners_at = 0.0
    writer.drain()
    assert (sums(pg).spans, sums(pg).bills) == (3, 3)
    assert pg.execute("SELECT count(*) FROM bill WHERE kind = 'abandoned'").fetchone() == (1,)
    assert verify(pg).differences == []


def test_a_journal_that_is_adopted_twice_or_comes_back_with_its_host_adds_nothing(
    pg: Connection, valkey: "redis.Redis", writer: Writer, here: Place, gone: Path
) -> None:
    for _ in range(2):
        adopt(pg, here, gone, KEY)
        writer._owners_at = 0.0
        writer.drain()
        writer.drain()
    before = sums(pg)
    back = Writer(gone / "journal", SECRETS, pg, valkey, "writer-gone")
    back.drain()
    assert sums(pg) == before
    assert verify(pg).differences == []


def test_a_host_that_had_begun_to_write_is_gone_on_with(
    pg: Connection, valkey: "redis.Redis", writer: Writer, here: Place, gone: Path
) -> None:
    there = Writer(gone / "journal", SECRETS, pg, valkey, "writer-gone")
    there._refresh(1e9)
    there._write(there._read())
    assert sums(pg).spans == 2
    adopt(pg, here, gone / "journal", KEY)
    writer._owners_at = 0.0
    writer.drain()
    assert (sums(pg).spans, sums(pg).bills) == (3, 3)
    assert verify(pg).differences == []


def test_what_may_not_be_adopted_is_named(pg: Connection, writer: Writer, here: Place, gone: Path) -> None:
    with pytest.raises(HostError, match="sealed with another key"):
        adopt(pg, here, gone, bytes(32))
    with pytest.raises(HostError, match="holds no journals"):
        adopt(pg, here, gone / "journal" / "gateway-gone", KEY)
    seen(pg, "gateway-gone", "there")
    with pytest.raises(HostError, match="gateway-gone of host there is alive"):
        adopt(pg, here, gone, KEY)
    pg.execute(LATE)
    here.journal.mkdir(parents=True, exist_ok=True)
    with pytest.raises(HostError, match="this host's own"):
        adopt(pg, here, here.folder, KEY)
    living = JournalWriter(gone / "journal" / "gateway-gone", KEY)
    with pytest.raises(HostError, match="gateway-gone is alive"):
        adopt(pg, here, gone, KEY)
    living.close()
    assert adopt(pg, here, gone, KEY) == ["gateway-gone"]


# ---------------------------------------------------------------- its disk is gone


def test_a_lost_host_gives_back_what_it_held_and_is_forgotten(
    pg: Connection, valkey: "redis.Redis", writer: Writer
) -> None:
    seen(pg, "gateway-gone", "there")
    key = in_ledger(valkey, "00" * 8, HELD, "gateway-gone")
    in_ledger(valkey, "01" * 8, PENDING, "gateway-gone")
    in_ledger(valkey, "02" * 8, HELD, "gateway-here")
    with pytest.raises(HostError, match="is alive"):
        lose(pg, valkey, "there")
    pg.execute(LATE)
    assert [(host.name, host.holding, host.unbilled) for host in hosts(pg, valkey)] == [("here", 0, 0), ("there", 1, 1)]
    lost = lose(pg, valkey, "there")
    assert (lost.holding, lost.unbilled) == (1, 1)
    assert valkey.hmget(key, "held", "pending") == [b"500", b"0"]
    assert [host.name for host in hosts(pg)] == ["here"]
    with pytest.raises(HostError, match="no host 'there'"):
        lose(pg, valkey, "there")


def test_journals_of_a_host_that_was_given_up_may_still_be_adopted(
    pg: Connection, valkey: "redis.Redis", writer: Writer, here: Place, gone: Path
) -> None:
    seen(pg, "gateway-gone", "there")
    pg.execute(LATE)
    lose(pg, valkey, "there")
    adopt(pg, here, gone, KEY)
    writer._owners_at = 0.0
    writer.drain()
    assert (sums(pg).spans, sums(pg).bills) == (3, 3)
    assert verify(pg).differences == []


def test_holds_that_nobody_gave_back_lapse_and_nothing_else_does(
    pg: Connection, valkey: "redis.Redis", writer: Writer
) -> None:
    key = in_ledger(valkey, "00" * 8, HELD, "gateway-gone", sweep.LAPSE_S + 60)
    in_ledger(valkey, "01" * 8, PENDING, "gateway-gone", sweep.LAPSE_S + 60)
    in_ledger(valkey, "02" * 8, HELD, "gateway-gone", sweep.LAPSE_S - 60)
    epoch = open_epoch(valkey)
    assert epoch is not None
    assert sweep.lapse(valkey, epoch, now_ns()) == 1
    assert valkey.hmget(key, "held", "pending") == [b"500", b"500"]
    assert sweep.lapse(valkey, epoch, now_ns()) == 0


# ---------------------------------------------------------------- the command


def said(*words: str) -> str:
    out = io.StringIO()
    call_command("hosts", *words, stdout=out)
    return out.getvalue()


def test_the_command_lists_hosts_and_what_they_hold(pg: Connection, valkey: "redis.Redis", writer: Writer) -> None:
    seen(pg, "writer-gone", "there", "writer", waiting=120)
    pg.execute(f"{LATE} WHERE host = 'there'")
    told = said()
    assert "here: 1 writer; seen" in told
    assert "there: silent; seen" in told
    assert "120 spans wait" in told
    assert "2 hosts" in told
    assert "there is forgotten: 0 calls held" in said("lost", "there")
    with pytest.raises(CommandError, match="no host"):
        said("lost", "there")
    assert audited(pg) == [
        ("lost", "there", {"owners": [["writer-gone"], None], "holding": [0, 0], "unbilled": [0, 0]})
    ]


def audited(pg: Connection) -> list[tuple[Any, ...]]:
    return pg.execute(
        "SELECT action, name, change FROM tenants_auditentry "
        "WHERE actor = 'command line' AND kind = 'host' AND tenant_id IS NULL ORDER BY id"
    ).fetchall()


def test_the_command_tells_the_audit_trail_what_it_adopted(
    pg: Connection, writer: Writer, here: Place, gone: Path, settings: Any
) -> None:
    settings.PLACE, settings.SECRETS = here, SECRETS
    for told in ("1 journals taken over", "0 journals taken over"):
        assert told in said("adopt", str(gone))
    assert audited(pg) == [("adopt", str(gone), {"journals": [None, ["gateway-gone"]]})]


# ---------------------------------------------------------------- hosts that fit together


def test_secrets_that_differ_are_named_and_rotation_is_not() -> None:
    ours = marks(SECRETS)
    assert differing(ours, ours) == []
    assert differing(ours, "") == []
    assert differing(ours, marks(replace(SECRETS, encryption_keys=("new", "one")))) == []
    assert differing(ours, marks(replace(SECRETS, encryption_keys=("new",)))) == ["LLMOBS_ENCRYPTION_KEYS"]
    other = replace(SECRETS, secret_key="x", journal_key=bytes(32))
    assert differing(ours, marks(other)) == ["LLMOBS_SECRET_KEY", "LLMOBS_JOURNAL_KEY"]
    assert not any(word in ours for word in ("secret", "one", KEY.hex()[:16]))


def test_a_host_with_other_secrets_does_not_join(pg: Connection, writer: Writer) -> None:
    other = replace(SECRETS, journal_key=bytes(32))
    look_alike(pg, other)  # its own row says nothing of others
    seen(pg, "writer-there", "there", "writer", said=marks(SECRETS))
    look_alike(pg, SECRETS)
    with pytest.raises(Unfit, match="LLMOBS_JOURNAL_KEY of this host differ from those of there: copy"):
        look_alike(pg, other)
    pg.execute(LATE)  # nobody is there any more: secrets may be new
    look_alike(pg, other)


@pytest.mark.django_db
def test_a_database_of_this_version_is_joined() -> None:
    look_migrated()


def test_joining_needs_the_addresses_of_a_platform(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "VALKEY_URL", "DJANGO_SETTINGS_MODULE")}
    command = [sys.executable, str(ROOT / "manage.py"), "up", "--join", "--data", str(tmp_path / "data")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--join needs DATABASE_URL and VALKEY_URL" in done.stderr
    assert not (tmp_path / "data" / "postgres").exists()


def test_the_checklist_has_rows_for_what_is_there(pg: Connection, writer: Writer) -> None:
    assert list(checklist_hosts.past_one_machine()) == []
    seen(pg, "writer-there", "there", "writer", said=marks(SECRETS))
    seen(pg, "writer-gone", "gone", "writer", waiting=7)
    pg.execute(f"{LATE} WHERE host = 'gone'")
    rows = {item.what: item for item in checklist_hosts.past_one_machine()}
    assert rows["the same secrets on every host"].state is State.SET
    assert rows["clocks that agree"].state is State.SET
    assert "gone: 7 spans" in rows["hosts whose journals are written"].how
    pg.execute("UPDATE heartbeat SET skew_ms = 9000, secrets = 'a:b:c' WHERE host = 'there'")
    rows = {item.what: item for item in checklist_hosts.past_one_machine()}
    assert "LLMOBS_SECRET_KEY" in rows["the same secrets on every host"].how
    assert "there +9000 ms" in rows["clocks that agree"].how


# ---------------------------------------------------------------- the replica is one setting


@pytest.mark.parametrize("module", ["llmobs.settings", "llmobs.web_settings"])
def test_the_web_reads_from_the_replica_that_one_variable_names(module: str, tmp_path: Path) -> None:
    code = f"from {module} import DATABASES as d; print(d['replica']['HOST'], d['replica']['OPTIONS'])"
    done = python(code, tmp_path, READ_DATABASE_URL="postgresql://who@replica.example/llmobs")
    assert done.stdout.startswith("replica.example {'connect_timeout': 2")


def test_what_is_no_address_of_a_replica_refuses_to_start(tmp_path: Path) -> None:
    done = python("import llmobs.settings", tmp_path, READ_DATABASE_URL="mysql://replica")
    assert "READ_DATABASE_URL does not begin with postgresql://" in done.stderr


def python(code: str, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "LLMOBS_DATA": str(folder), **variables}
    return subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=False)


# ---------------------------------------------------------------- one beat


def test_one_host_beats_and_the_next_goes_on_when_it_ends(database_url: str, migrated: object) -> None:
    first, second = beating.Turn(database_url), beating.Turn(database_url)
    assert [first.is_ours(), second.is_ours(), first.is_ours(), second.is_ours()] == [True, False, True, False]
    first.give_up()
    assert second.is_ours()
    assert not first.is_ours()
    second.give_up()


def test_a_beat_whose_session_was_ended_stops_and_another_goes_on(pg: Connection, database_url: str) -> None:
    first, second = beating.Turn(database_url), beating.Turn(database_url)
    assert first.is_ours()
    pg.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'llmobs beat'")
    assert not first.is_ours()
    assert second.is_ours()
    assert not first.is_ours()
    first.give_up()
    second.give_up()


def test_without_postgresql_nobody_beats() -> None:
    assert not beating.Turn("postgresql://nobody@127.0.0.1:1/none").is_ours()


def test_who_waits_sends_nothing(database_url: str, migrated: object, tmp_path: Path) -> None:
    from llmobs.celery import app

    leader = beating.Turn(database_url)
    assert leader.is_ours()
    sent: list[str] = []
    scheduler = beating.Scheduler(app, schedule_filename=str(tmp_path / "beat"))
    scheduler._turn = beating.Turn(database_url)
    scheduler.apply_async = lambda entry, **_: sent.append(entry.name)
    assert scheduler.tick() == beating.LOOK_SECONDS
    assert sent == []
    leader.give_up()
    for entry in scheduler.schedule.values():
        entry.last_run_at = entry.last_run_at.replace(year=2020)
    scheduler.tick()
    assert sent != []
    scheduler.close()
