"""The writer: from journals to the database, once each, through deaths, poison and lost stores."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
import redis

from llmobs.budgets.ledger import HELD, budget_key, hand_in
from llmobs.budgets.recovery import open_epoch
from llmobs.budgets.valkey import run
from llmobs.budgets.window import window_start
from llmobs.core.clock import NS_PER_SECOND, now_ns
from llmobs.core.env import Secrets
from llmobs.ingest import writing
from llmobs.ingest.commit import commit_batch
from llmobs.ingest.dead_letters import dig_up
from llmobs.ingest.entries import Begin, Hold, OtlpBody, Refused
from llmobs.ingest.journal import JournalWriter
from llmobs.ingest.journal_folders import owners
from llmobs.ingest.seal import Sealer
from llmobs.ingest.writer import ledger_client
from llmobs.ingest.writing import Writer
from llmobs.ops.verify import verify
from llmobs.tenants.attribution import Attribution
from tests.ingest.making import START_NS, begin, end, journal_folder, make_tenant, otlp, sums

Connection = psycopg.Connection[Any]
KEY = bytes(range(32))
SECRETS = Secrets("secret", (), KEY, "", "", "")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalWriter]:
    writer = JournalWriter(journal_folder(tmp_path), KEY)
    yield writer
    writer.close()


@pytest.fixture
def make_writer(pg: Connection, valkey: "redis.Redis", tmp_path: Path) -> Callable[[], Writer]:
    make_tenant(pg)
    make_tenant(pg, 2, content="redacted")
    return lambda: Writer(tmp_path / "journal", SECRETS, pg, valkey)


@pytest.fixture
def writer(make_writer: Callable[[], Writer]) -> Writer:
    return make_writer()


def test_an_attempt_becomes_a_span_and_a_bill(pg: Connection, journal: JournalWriter, writer: Writer) -> None:
    begun = begin()
    journal.append(begun)
    writer.drain()
    assert sums(pg).spans == 0
    ended = end(begun)
    journal.append(ended)
    writer.drain()
    assert (sums(pg).spans, sums(pg).bills, sums(pg).billed_nanousd) == (1, 1, ended.cost_nanousd)
    row = pg.execute("SELECT status, request_model, response_model, preview FROM span").fetchone()
    assert row == ("ok", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", "mail bob@example.com")
    assert verify(pg).differences == []


def test_the_tenants_policy_is_applied(pg: Connection, journal: JournalWriter, writer: Writer) -> None:
    begun = begin(2)
    journal.append(begun)
    journal.append(end(begun))
    writer.drain()
    assert pg.execute("SELECT preview FROM span").fetchone() == ("mail [EMAIL_1]",)


def test_a_refusal_is_a_span_without_a_bill(pg: Connection, journal: JournalWriter, writer: Writer) -> None:
    begun = begin()
    journal.append(
        Refused(
            begun.attempt, begun.trace_id, None, 1, Attribution(feature="support"), START_NS, 1000, "chat", "chat",
            "openai", "gpt-4o-mini", "budget_exhausted", "spent", {"budget": "monthly", "limit": 5},
        )
    )  # fmt: skip
    writer.drain()
    assert (sums(pg).spans, sums(pg).bills) == (1, 0)
    row = pg.execute("SELECT status, error_type, attributes->>'llmobs.refusal.budget' FROM span").fetchone()
    assert row == ("refused", "budget_exhausted", "monthly")
    assert verify(pg).differences == []


def test_otlp_is_decoded_priced_and_billed(pg: Connection, journal: JournalWriter, writer: Writer) -> None:
    journal.append(otlp(count=3))
    writer.drain()
    found = sums(pg)
    assert (found.spans, found.bills) == (3, 3)
    assert found.billed_nanousd > 0
    assert verify(pg).differences == []


def test_a_dead_owners_open_attempt_is_billed_at_its_hold(
    pg: Connection, journal: JournalWriter, writer: Writer
) -> None:
    begun = begin()
    journal.append(begun)
    journal.close()
    writer.drain()
    row = pg.execute("SELECT status, is_estimated, cost_nanousd FROM span").fetchone()
    assert row == ("abandoned", True, begun.held_nanousd)
    assert pg.execute("SELECT kind, cost_nanousd FROM bill").fetchone() == ("abandoned", begun.held_nanousd)
    assert owners(journal.folder.parent) == []
    assert pg.execute("SELECT count(*) FROM journal_offset").fetchone() == (0,)
    assert verify(pg).differences == []


def test_a_poisoned_body_is_buried_and_the_others_are_written(
    pg: Connection, journal: JournalWriter, writer: Writer
) -> None:
    journal.append(otlp())
    poison = OtlpBody(1, 7, START_NS, "application/x-protobuf", b"\xff\xff\xff private words")
    journal.append(poison)
    journal.append(otlp())
    writer.drain()
    assert sums(pg).spans == 2
    [(tenant_id, kind, reason, entry)] = pg.execute("SELECT tenant_id, kind, reason, entry FROM dead_letter").fetchall()
    assert (tenant_id, kind) == (1, "OtlpBody")
    assert "private" not in reason
    assert dig_up(Sealer(KEY), bytes(entry)) == (poison, None)


def test_what_postgresql_refuses_is_found_and_buried(
    pg: Connection, journal: JournalWriter, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append(otlp())
    journal.append(otlp(model="poison"))

    def refuses(conn: Connection, batch: Any, budgets: Any) -> Any:
        if any(span.request_model == "poison" for span in batch.spans):
            raise psycopg.errors.NumericValueOutOfRange("too large")
        return commit_batch(conn, batch, budgets)

    monkeypatch.setattr("llmobs.ingest.writing.commit_batch", refuses)
    writer.drain()
    assert sums(pg).spans == 1
    assert pg.execute("SELECT reason FROM dead_letter").fetchall() == [
        ("it cannot be written: NumericValueOutOfRange",)
    ]


def test_a_writer_that_died_between_read_and_commit_loses_nothing(
    pg: Connection, journal: JournalWriter, make_writer: Callable[[], Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = begin()
    journal.append(begun)
    make_writer().drain()
    journal.append(end(begun))
    journal.append(otlp())

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("llmobs.ingest.writing.commit_batch", killed)
        dying = make_writer()
        with pytest.raises(KeyboardInterrupt):
            dying.turn()
    make_writer().drain()
    assert (sums(pg).spans, sums(pg).bills) == (2, 2)
    assert verify(pg).differences == []


def test_a_writer_that_died_after_its_commit_writes_nothing_twice(
    pg: Connection, journal: JournalWriter, make_writer: Callable[[], Writer]
) -> None:
    for _ in range(3):
        begun = begin()
        journal.append(begun)
        journal.append(end(begun))
    left_open = begin()
    journal.append(left_open)
    make_writer().drain()
    successor = make_writer()
    successor.drain()
    assert sums(pg).spans == 3
    journal.append(end(left_open))
    successor.drain()
    assert (sums(pg).spans, sums(pg).bills) == (4, 4)


def test_a_lost_connection_is_told_to_the_process(
    pg: Connection, journal: JournalWriter, writer: Writer, make_writer: Callable[[], Writer], database_url: str
) -> None:
    journal.append(otlp())
    pid = pg.info.backend_pid
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (pid,))
        with pytest.raises(psycopg.OperationalError):
            writer.drain()
        assert sums(other).spans == 0


def test_valkey_away_does_not_stop_the_writing(pg: Connection, journal: JournalWriter, tmp_path: Path) -> None:
    make_tenant(pg)
    nobody = ledger_client("redis://127.0.0.1:1/0")
    begun = begin()
    journal.append(begun)
    journal.append(end(begun))
    Writer(tmp_path / "journal", SECRETS, pg, nobody).drain()
    assert sums(pg).bills == 1


def test_a_dead_owners_journal_stays_until_its_holds_are_released(
    pg: Connection, valkey: "redis.Redis", journal: JournalWriter, writer: Writer, tmp_path: Path
) -> None:
    """A hold whose Begin was never written is known by its owner's folder alone."""
    writer.drain()  # opens the ledger
    epoch = open_epoch(valkey)
    assert epoch is not None
    key = budget_key(1, 1, 1, 0, "")
    run(valkey, hand_in(epoch, "00" * 8, HELD, 0, journal.folder.name, [(key, 500)]))
    journal.append(otlp())
    journal.close()
    away = Writer(tmp_path / "journal", SECRETS, pg, ledger_client("redis://127.0.0.1:1/0"))
    away.drain()
    assert (sums(pg).spans, owners(journal.folder.parent)) == (1, [journal.folder])
    pg.execute(
        "INSERT INTO heartbeat (owner, kind, host, pid, config_version) VALUES (%s, 'gateway', 'h', 1, 1)",
        (journal.owner,),
    )
    again = Writer(tmp_path / "journal", SECRETS, pg, valkey)
    again.turn()
    again.turn()
    assert owners(journal.folder.parent) == []
    assert pg.execute("SELECT owner FROM heartbeat WHERE kind = 'gateway'").fetchall() == []
    assert int(valkey.hget(key, "held") or 0) == 0


def test_spend_reaches_the_ledger_and_a_new_budget_is_counted(
    pg: Connection, valkey: "redis.Redis", journal: JournalWriter, writer: Writer
) -> None:
    now = now_ns()
    before = begin(start_ns=now)
    journal.append(before)
    journal.append(end(before))
    writer.drain()
    pg.execute(
        'INSERT INTO budgets_budget (id, tenant_id, name, limit_nanousd, "window", scope, action, thresholds, '
        "is_active, revision, created_at) VALUES (1, 1, 'all', 1000000, 'month', '{}', 'block', '[]', true, 1, now())"
    )
    writer._config_at = 0.0
    writer.drain()
    month_s = window_start("month", ZoneInfo("UTC"), now // NS_PER_SECOND)
    held = begin(start_ns=now, holds=[Hold(1, 1, "", month_s, 500)])
    journal.append(held)
    ended = end(held)
    journal.append(ended)
    writer.drain()
    spent = 2 * (ended.cost_nanousd or 0)
    assert pg.execute("SELECT spent FROM budget_spend").fetchone() == (spent,)
    assert verify(pg, valkey).differences == []
    row = pg.execute("SELECT budgets FROM bill ORDER BY bill_id DESC LIMIT 1").fetchone()
    assert row == ("1",)


def test_it_says_that_it_lives_and_what_waits(pg: Connection, journal: JournalWriter, writer: Writer) -> None:
    journal.append(otlp())
    writer.drain()
    writer._heartbeat_at = 0.0
    writer.drain()
    assert pg.execute("SELECT kind, waiting_spans FROM heartbeat").fetchall() == [("writer", 0)]
    writer.run(lambda: True)
    assert pg.execute("SELECT count(*) FROM heartbeat").fetchone() == (0,)


def test_begins_alone_are_no_spans(pg: Connection, journal: JournalWriter, writer: Writer) -> None:
    assert isinstance(begin(), Begin)
    journal.append(begin())
    assert writer.turn() == 0
    assert sums(pg).spans == 0


def test_what_the_provider_states_is_kept_beside_our_cost(
    pg: Connection, journal: JournalWriter, writer: Writer
) -> None:
    begun = begin()
    ended = end(begun, stated_nanousd=12_345)
    journal.append(begun)
    journal.append(ended)
    writer.drain()
    row = pg.execute("SELECT cost_nanousd, stated_cost_nanousd FROM span").fetchone()
    assert row == (ended.cost_nanousd, 12_345)


def test_owners_are_read_in_turn_however_much_one_of_them_has(
    pg: Connection, journal: JournalWriter, writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = JournalWriter(journal_folder(tmp_path).with_name("gateway-2"), KEY)
    monkeypatch.setattr(writing, "MOST_BYTES", 1)
    monkeypatch.setattr(writing, "LEAST_BYTES", 16)
    for _ in range(6):
        journal.append(otlp())
    other.append(otlp(model="of the other"))
    assert [writer.turn(), writer.turn()] == [1, 1]
    found = pg.execute("SELECT count(*) FROM span WHERE request_model = 'of the other'").fetchone()
    assert found == (1,)
    writer.drain()
    assert sums(pg).spans == 7
    other.close()
