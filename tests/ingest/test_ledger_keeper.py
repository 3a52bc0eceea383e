"""What a writer does for the ledger beside its own folds."""

from pathlib import Path

import pytest
import redis

from llmobs.budgets import recovery
from llmobs.budgets.definition import Applied, load
from llmobs.budgets.valkey import fold
from llmobs.core.env import Secrets
from llmobs.ingest import ledger_keeper
from llmobs.ingest.ledger_keeper import LedgerKeeper
from llmobs.ingest.shares import Whole
from llmobs.ingest.writing import Writer
from tests.budgets.made import AT_NS, OWNER, Conn, fold_of, make_bill, reserve, settle, sums
from tests.budgets.test_recovery import A, B, budget, write_spend

__all__ = ["budget"]  # a fixture


@pytest.fixture
def keeper(pg: Conn, valkey: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LedgerKeeper:
    monkeypatch.setattr(ledger_keeper, "now_ns", lambda: AT_NS)
    return LedgerKeeper(valkey, "writer-2", tmp_path, bytes(32), Whole(tmp_path).mine)


def test_what_a_dead_writer_did_not_fold_counts_once_as_soon_as_another_has_its_journals(
    pg: Conn, valkey: redis.Redis, budget: Applied, keeper: LedgerKeeper
) -> None:
    """PAINS 1, 2: until the dead one was back, calls that fit were refused."""
    budgets = load(pg)
    behind_another(pg, valkey, budget, keeper)
    assert sums(valkey, budget) == (20, 9, 10)

    keeper.took_over()
    keeper.keep(pg, budgets)
    assert sums(valkey, budget) == (30, 0, 10)
    keeper.keep(pg, budgets)
    assert (sums(valkey, budget), keeper.waiting_folds) == ((30, 0, 10), 0)


def test_what_was_committed_before_is_folded_before(
    pg: Conn, valkey: redis.Redis, budget: Applied, keeper: LedgerKeeper
) -> None:
    """The later base holds it already; an attempt that is in it would count twice until its own fold has come."""
    budgets = load(pg)
    epoch = behind_another(pg, valkey, budget, keeper)
    assert (sums(valkey, budget), keeper.waiting_folds) == ((20, 9, 10), 1)

    fold(valkey, epoch, [fold_of(budget, 29, 4, A.hex())])
    keeper.keep(pg, budgets)
    assert (sums(valkey, budget), keeper.waiting_folds) == ((30, 0, 10), 0)


def test_it_is_not_waited_for_a_writer_that_stands_still_for_long(
    pg: Conn, valkey: redis.Redis, budget: Applied, keeper: LedgerKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_keeper, "IN_ORDER_SECONDS", 0)
    behind_another(pg, valkey, budget, keeper)
    keeper.keep(pg, load(pg))
    assert (sums(valkey, budget), keeper.waiting_folds) == ((30, 9, 10), 0)


def test_what_a_dead_gateway_holds_stays_until_all_that_it_spent_is_folded(
    pg: Conn, valkey: redis.Redis, budget: Applied, keeper: LedgerKeeper
) -> None:
    budgets = load(pg)
    epoch = behind_another(pg, valkey, budget, keeper)
    assert not keeper.is_released(OWNER)
    keeper.keep(pg, budgets)
    assert not keeper.is_released(OWNER)
    assert sums(valkey, budget) == (20, 9, 10)

    fold(valkey, epoch, [fold_of(budget, 29, 4, A.hex())])
    keeper.keep(pg, budgets)
    assert keeper.is_released(OWNER)
    assert sums(valkey, budget) == (30, 0, 0)


def behind_another(conn: Conn, valkey: redis.Redis, budget: Applied, keeper: LedgerKeeper) -> str:
    """Another has billed A and not folded it, and the keeper has a fold of what was committed next; the epoch."""
    keeper.keep(conn, load(conn))
    epoch = recovery.open_epoch(valkey) or ""
    reserve(valkey, A.hex(), (budget, 30), epoch=epoch)
    reserve(valkey, B.hex(), (budget, 10), epoch=epoch)
    settle(valkey, A.hex(), (budget, 9), epoch=epoch)
    make_bill(conn, budget.budget.tenant_id, 9, span_id=A)
    write_spend(conn, budget, 29, 4)
    write_spend(conn, budget, 30, 5)
    keeper.add([fold_of(budget, 30, 5)])
    keeper.keep(conn, load(conn))
    return epoch


@pytest.mark.parametrize("is_begun", [True, False])
def test_a_writer_tells_its_keeper_whose_journals_it_has_taken_over(
    pg: Conn, valkey: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_begun: bool
) -> None:
    told: list[bool] = []
    monkeypatch.setattr(LedgerKeeper, "took_over", lambda _: told.append(True))
    (tmp_path / "gateway-1").mkdir()
    if is_begun:  # by another
        pg.execute("INSERT INTO journal_offset (owner, host, low_water, committed) VALUES ('gateway-1', 'here', 7, 7)")
    Writer(tmp_path, Secrets("secret", (), bytes(32), "", "", ""), pg, valkey).turn()
    assert len(told) == is_begun
