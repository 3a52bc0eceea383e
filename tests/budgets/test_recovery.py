"""A lost ledger is rebuilt from PostgreSQL and the journals, and what dead processes left is mended."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
import redis

from llmobs.budgets import ledger, recovery, sweep
from llmobs.budgets.definition import Applied, Budgets, apply_at, load
from llmobs.budgets.ledger import Granted
from llmobs.budgets.recovery import HandIn, Offset
from llmobs.budgets.valkey import EpochChanged, fold
from llmobs.core.clock import NS_PER_SECOND, utc_from_ns
from tests.budgets.made import (
    AT_NS,
    AT_S,
    OWNER,
    Conn,
    fold_of,
    make_bill,
    make_budget,
    make_tenant,
    reserve,
    settle,
    sums,
)

A, B = b"aaaaaaaa", b"bbbbbbbb"


@dataclass
class Journals:
    """Journals of this host, as a test wants them."""

    found: list[HandIn] = field(default_factory=list)
    alive: set[str] = field(default_factory=set)
    meanwhile: Callable[[], object] = lambda: None
    taken: int = 0
    asked: list[tuple[dict[str, Offset], set[str]]] = field(default_factory=list)

    def take(self) -> None:
        self.taken += 1

    def living(self) -> set[str]:
        return self.alive

    def hand_ins(self, offsets: dict[str, Offset], acknowledged: set[str]) -> Iterable[HandIn]:
        self.asked.append((offsets, acknowledged))
        return self.found

    def wait(self, waited_s: float) -> float:
        self.meanwhile()
        return waited_s + 1.0


@pytest.fixture
def budget(pg: Conn) -> Applied:
    """A counted budget of 100 of which 20 are spent, version 3."""
    tenant_id = make_tenant(pg)
    make_budget(pg, tenant_id, counted_at=utc_from_ns(AT_NS))
    (info,) = load(pg).infos
    found = apply_at(info, "", AT_S)
    write_spend(pg, found, 20, 3)
    return found


def write_spend(conn: Conn, budget: Applied, spent: int, version: int) -> None:
    starts_at = utc_from_ns(budget.window_start_s * NS_PER_SECOND)
    conn.execute(
        "INSERT INTO budget_spend VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT "
        "(tenant_id, budget_id, revision, value, window_start) DO UPDATE "
        "SET spent = excluded.spent, version = excluded.version",
        (budget.budget.tenant_id, budget.budget.id, 1, budget.value, starts_at, spent, version),
    )


def recovered(conn: Conn, client: redis.Redis, journals: Journals) -> str:
    epoch = recovery.recover(conn, client, journals, AT_NS)
    assert epoch is not None
    return epoch


def test_an_empty_valkey_has_no_open_epoch(valkey: redis.Redis) -> None:
    assert recovery.open_epoch(valkey) is None
    valkey.set(ledger.EPOCH_KEY, f"closed e:{recovery.run_id(valkey)}")
    assert recovery.open_epoch(valkey) is None
    valkey.set(ledger.EPOCH_KEY, "open e:the-process-before")
    assert recovery.open_epoch(valkey) is None
    valkey.set(ledger.EPOCH_KEY, f"open e:{recovery.run_id(valkey)}")
    assert recovery.open_epoch(valkey) is not None


def test_a_recovered_ledger_has_bases_and_the_journals_attempts(pg: Conn, valkey: redis.Redis, budget: Applied) -> None:
    pg.execute("INSERT INTO journal_offset (owner, host, low_water, committed) VALUES ('gateway-1', 'h', 3, 9)")
    journals = Journals(
        found=[
            HandIn(A.hex(), ledger.PENDING, AT_S, OWNER, [(budget.key, 7)]),
            HandIn(B.hex(), ledger.HELD, AT_S, OWNER, [(budget.key, 30)]),
        ]
    )
    epoch = recovered(pg, valkey, journals)
    assert recovery.open_epoch(valkey) == epoch
    assert sums(valkey, budget) == (20, 7, 30)
    assert journals.asked == [({OWNER: Offset(3, 9)}, set())]
    assert reserve(valkey, "0" * 16, (budget, 43), epoch=epoch) == Granted((0,))


def test_what_an_earlier_server_left_behind_is_wiped(pg: Conn, valkey: redis.Redis, budget: Applied) -> None:
    valkey.hset(budget.key, mapping={"base": 99, "version": 99, "held": 5})
    valkey.set("other", "kept")
    recovered(pg, valkey, Journals())
    assert sums(valkey, budget) == (20, 0, 0)
    assert valkey.get("other") == b"kept"


def test_it_stays_closed_until_the_living_have_acknowledged(pg: Conn, valkey: redis.Redis, budget: Applied) -> None:
    words = []

    def acknowledge() -> None:
        words.append(recovery.epoch_word(valkey).split()[0])
        valkey.set(ledger.owner_key("gateway-2"), recovery.epoch_word(valkey).split()[1])

    journals = Journals(alive={"gateway-2"}, meanwhile=acknowledge)
    recovered(pg, valkey, journals)
    assert words == ["closed"]
    assert journals.asked[0][1] == {"gateway-2"}


def test_a_silent_owner_is_waited_for_no_longer_than_its_grants_live(
    pg: Conn, valkey: redis.Redis, budget: Applied
) -> None:
    waits: list[None] = []
    journals = Journals(alive={"hung"}, meanwhile=lambda: waits.append(None))
    recovered(pg, valkey, journals)
    assert len(waits) == recovery.PATIENCE_S
    assert journals.asked[0][1] == set()


def test_only_one_writer_recovers(pg: Conn, valkey: redis.Redis, database_url: str, budget: Applied) -> None:
    seen = []

    def second() -> None:
        with psycopg.connect(database_url, autocommit=True) as other:
            seen.append(recovery.recover(other, valkey, Journals(), AT_NS))

    recovered(pg, valkey, Journals(alive={"hung"}, meanwhile=second))
    assert set(seen) == {None}


def test_a_ledger_lost_again_meanwhile_is_not_opened(pg: Conn, valkey: redis.Redis, budget: Applied) -> None:
    with pytest.raises(EpochChanged):
        recovered(pg, valkey, Journals(alive={"hung"}, meanwhile=valkey.flushall))
    assert recovery.open_epoch(valkey) is None
    recovered(pg, valkey, Journals())
    assert sums(valkey, budget) == (20, 0, 0)


def test_a_fold_committed_before_the_loss_and_sent_after_it_changes_nothing(
    pg: Conn, valkey: redis.Redis, budget: Applied
) -> None:
    late = fold_of(budget, 15, 2, A.hex())
    epoch = recovered(pg, valkey, Journals())
    fold(valkey, epoch, [late])
    assert sums(valkey, budget) == (20, 0, 0)
    with pytest.raises(EpochChanged):
        fold(valkey, "gone:server", [late])


def test_a_writer_that_starts_again_brings_what_its_predecessor_did_not_fold(
    pg: Conn, valkey: redis.Redis, budget: Applied
) -> None:
    epoch = recovered(pg, valkey, Journals())
    reserve(valkey, A.hex(), (budget, 30), epoch=epoch)
    reserve(valkey, B.hex(), (budget, 10), epoch=epoch)
    settle(valkey, A.hex(), (budget, 9), epoch=epoch)
    make_bill(pg, budget.budget.tenant_id, 9, span_id=A)
    write_spend(pg, budget, 29, 4)  # and the writer died before its fold
    assert recovery.join(pg, valkey, Journals(), "writer-2", AT_NS) == epoch
    assert sums(valkey, budget) == (29, 0, 10)
    assert valkey.get(ledger.owner_key("writer-2")) == epoch.encode()


def test_a_writer_that_an_epoch_was_opened_without_brings_its_journals_once(
    pg: Conn, valkey: redis.Redis, budget: Applied
) -> None:
    """It stood still on another host: what ended there was in nobody's hands."""
    epoch = recovered(pg, valkey, Journals())
    journals = Journals(found=[HandIn(A.hex(), ledger.PENDING, AT_S, OWNER, [(budget.key, 7)])], alive={OWNER})
    valkey.set(ledger.owner_key(OWNER), epoch)
    assert recovery.join(pg, valkey, journals, "writer-2", AT_NS) == epoch
    assert sums(valkey, budget) == (20, 7, 0)
    assert journals.asked == [({}, {OWNER})]

    assert recovery.join(pg, valkey, journals, "writer-2", AT_NS) == epoch
    assert (len(journals.asked), journals.taken) == (1, 2)


class Watched:
    """A client after each of whose steps it is looked at what the ledger says."""

    def __init__(self, client: Any, look: Callable[[], object]) -> None:
        self.client, self.look = client, look

    def execute_command(self, *args: Any, **options: Any) -> Any:
        reply = self.client.execute_command(*args, **options)
        self.look()
        return reply

    def pipeline(self, transaction: bool = True) -> "_Apart":
        return _Apart(self)


class _Apart:
    """A pipeline whose commands go out one by one."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.commands: list[tuple[Any, ...]] = []

    def execute_command(self, *args: Any) -> None:
        self.commands.append(args)

    def execute(self) -> list[Any]:
        return [self.watched.execute_command(*words) for words in self.commands]


def test_at_no_moment_does_a_writer_that_starts_again_count_an_attempt_twice(
    pg: Conn, valkey: redis.Redis, budget: Applied
) -> None:
    """PAINS 1, 2: where it did, calls that fit were refused, and the ledger stood above its limit."""
    epoch = recovered(pg, valkey, Journals())
    reserve(valkey, A.hex(), (budget, 80), epoch=epoch)
    settle(valkey, A.hex(), (budget, 80), epoch=epoch)
    make_bill(pg, budget.budget.tenant_id, 80, span_id=A)
    write_spend(pg, budget, 100, 4)  # and the writer died before its fold
    seen: list[int] = []
    watched = Watched(valkey, lambda: seen.append(sum(sums(valkey, budget))))
    assert recovery.join(pg, watched, Journals(), "writer-2", AT_NS) == epoch
    assert set(seen) == {100}


def test_at_no_moment_is_counted_twice_what_another_writer_commits_while_one_joins(
    pg: Conn, database_url: str, valkey: redis.Redis, budget: Applied, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has committed and not folded yet when the other brings the bases."""
    epoch = recovered(pg, valkey, Journals())

    def load_late(conn: Conn) -> Budgets:
        reserve(valkey, A.hex(), (budget, 80), epoch=epoch)
        with psycopg.connect(database_url, autocommit=True) as other:
            make_bill(other, budget.budget.tenant_id, 80, span_id=A)
            write_spend(other, budget, 100, 4)
        return load(conn)

    monkeypatch.setattr(recovery, "load", load_late)
    seen: list[int] = []
    watched = Watched(valkey, lambda: seen.append(sum(sums(valkey, budget))))
    assert recovery.join(pg, watched, Journals(), "writer-2", AT_NS) == epoch
    assert seen[-1] == max(seen) == 100


def test_what_a_writer_committed_before_its_offset_is_not_brought_in_again(
    pg: Conn, valkey: redis.Redis, budget: Applied
) -> None:
    """One that dies between two transactions of a turn has bills of Ends past its offset."""
    make_bill(pg, budget.budget.tenant_id, 9, span_id=A)
    write_spend(pg, budget, 29, 4)
    recovered(pg, valkey, Journals(found=[HandIn(A.hex(), ledger.PENDING, AT_S, OWNER, [(budget.key, 9)])]))
    assert sums(valkey, budget) == (29, 0, 0)


def test_attempts_with_a_bill_are_dropped_and_younger_or_unbilled_ones_stay(
    pg: Conn, valkey: redis.Redis, budget: Applied
) -> None:
    epoch = recovered(pg, valkey, Journals())
    for attempt in (A, B):
        reserve(valkey, attempt.hex(), (budget, 10), epoch=epoch)
    make_bill(pg, budget.budget.tenant_id, 4, span_id=A)
    write_spend(pg, budget, 24, 4)
    assert sweep.drop_billed(pg, valkey, epoch, AT_NS) == 0
    later_ns = AT_NS + (sweep.SETTLING_S + 1) * NS_PER_SECOND
    assert sweep.drop_billed(pg, valkey, epoch, later_ns) == 1
    assert sums(valkey, budget) == (24, 0, 10)


def test_what_a_dead_owner_holds_is_released_and_nobody_else_s(pg: Conn, valkey: redis.Redis, budget: Applied) -> None:
    epoch = recovered(pg, valkey, Journals())
    reserve(valkey, A.hex(), (budget, 10), epoch=epoch, owner="dead")
    reserve(valkey, B.hex(), (budget, 5), epoch=epoch, owner="alive")
    assert sweep.release_owner(valkey, epoch, "dead") == 1
    assert sums(valkey, budget) == (20, 0, 5)


def test_windows_long_over_are_swept_but_not_while_an_attempt_lives_in_them(
    pg: Conn, valkey: redis.Redis, budget: Applied
) -> None:
    epoch = recovered(pg, valkey, Journals())
    reserve(valkey, A.hex(), (budget, 10), epoch=epoch)
    later_ns = AT_NS + 4 * 86_400 * NS_PER_SECOND
    assert sweep.sweep_windows(valkey, epoch, load(pg), later_ns) == 0
    fold(valkey, epoch, [fold_of(budget, 30, 4, A.hex())])
    assert sweep.sweep_windows(valkey, epoch, load(pg), AT_NS) == 0
    assert sweep.sweep_windows(valkey, epoch, load(pg), later_ns) == 1
    assert not valkey.exists(budget.key)
