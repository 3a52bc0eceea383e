"""The ledger's scripts on a real Valkey: each interleaving that budgets/ledger.py names."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from llmobs.budgets import ledger
from llmobs.budgets.ledger import Exhausted, Granted, KeyParts, Unavailable
from llmobs.budgets.valkey import run
from llmobs.core.money import MOST_NANOUSD
from tests.budgets.made import AT_S, EPOCH, OWNER, applied, fold, fold_of, open_ledger, release, reserve, settle, sums

A, B, C = "000000000000000a", "000000000000000b", "000000000000000c"


def test_a_call_that_fits_exactly_is_granted_and_the_next_nano_is_refused(valkey: redis.Redis) -> None:
    budget = applied(100)
    open_ledger(valkey, budget)
    assert reserve(valkey, A, (budget, 100)) == Granted((0,))
    assert reserve(valkey, B, (budget, 1)) == Exhausted(0, base=0, pending=0, held=100)


def test_all_budgets_are_held_or_none(valkey: redis.Redis) -> None:
    wide, narrow = applied(1000, id=1), applied(50, id=2)
    open_ledger(valkey, wide, narrow)
    assert reserve(valkey, A, (wide, 60), (narrow, 60)) == Exhausted(1, 0, 0, 0)
    assert (sums(valkey, wide), sums(valkey, narrow)) == ((0, 0, 0), (0, 0, 0))
    assert reserve(valkey, B, (wide, 50), (narrow, 50)) == Granted((950, 0))
    assert (sums(valkey, wide), sums(valkey, narrow)) == ((0, 0, 50), (0, 0, 50))


def test_an_alert_only_budget_is_held_but_never_refuses(valkey: redis.Redis) -> None:
    budget = applied(10, action="alert")
    open_ledger(valkey, budget)
    assert reserve(valkey, A, (budget, 15)) == Granted((-5,))
    assert sums(valkey, budget) == (0, 0, 15)


def test_a_limit_of_zero_refuses_what_costs_and_lets_through_what_is_free(valkey: redis.Redis) -> None:
    budget = applied(0)
    open_ledger(valkey, budget)
    assert isinstance(reserve(valkey, A, (budget, 1)), Exhausted)
    assert reserve(valkey, B, (budget, 0)) == Granted((0,))
    assert settle(valkey, B, (budget, 0)) == 1
    assert fold(valkey, budget, None, -1, B) == 1


def test_reserving_again_takes_nothing_more(valkey: redis.Redis) -> None:
    budget = applied(100)
    open_ledger(valkey, budget)
    reserve(valkey, A, (budget, 80))
    assert reserve(valkey, A, (budget, 80)) == Granted((20,))
    assert sums(valkey, budget) == (0, 0, 80)


def test_settling_replaces_the_hold_once(valkey: redis.Redis) -> None:
    budget = applied(100)
    open_ledger(valkey, budget)
    reserve(valkey, A, (budget, 80))
    assert settle(valkey, A, (budget, 30)) == 1
    assert settle(valkey, A, (budget, 30)) == 0
    assert sums(valkey, budget) == (0, 30, 0)


def test_a_cost_above_the_hold_is_booked_and_stops_what_follows(valkey: redis.Redis) -> None:
    budget = applied(100)
    open_ledger(valkey, budget)
    reserve(valkey, A, (budget, 80))
    settle(valkey, A, (budget, 120))
    assert sums(valkey, budget) == (0, 120, 0)
    assert reserve(valkey, B, (budget, 1)) == Exhausted(0, 0, 120, 0)


def test_a_release_gives_the_hold_back_but_not_what_was_settled(valkey: redis.Redis) -> None:
    budget = applied(100)
    open_ledger(valkey, budget)
    reserve(valkey, A, (budget, 40))
    reserve(valkey, B, (budget, 40))
    settle(valkey, B, (budget, 10))
    assert (release(valkey, A, budget), release(valkey, A, budget), release(valkey, B, budget)) == (1, 0, 0)
    assert sums(valkey, budget) == (0, 10, 0)


def test_a_fold_turns_pending_into_base(valkey: redis.Redis) -> None:
    budget = applied(100)
    open_ledger(valkey, budget)
    reserve(valkey, A, (budget, 80))
    settle(valkey, A, (budget, 30))
    assert fold(valkey, budget, 30, 1, A) == 1
    assert sums(valkey, budget) == (30, 0, 0)


def test_a_settle_that_comes_after_its_fold_changes_nothing(valkey: redis.Redis) -> None:
    budget = applied(100)
    open_ledger(valkey, budget)
    reserve(valkey, A, (budget, 80))
    fold(valkey, budget, 30, 1, A)
    assert settle(valkey, A, (budget, 30)) == 0
    assert sums(valkey, budget) == (30, 0, 0)


def test_folds_out_of_order_over_count_for_a_moment_and_end_right(valkey: redis.Redis) -> None:
    budget = applied(100)
    open_ledger(valkey, budget)
    for attempt in (A, B):
        reserve(valkey, attempt, (budget, 10))
        settle(valkey, attempt, (budget, 10))
    fold(valkey, budget, 20, 2, B)
    assert sums(valkey, budget) == (20, 10, 0)
    fold(valkey, budget, 10, 1, A)
    assert sums(valkey, budget) == (20, 0, 0)


def test_a_fold_repeated_or_of_an_unknown_attempt_drops_nothing(valkey: redis.Redis) -> None:
    budget = applied(100)
    open_ledger(valkey, budget)
    reserve(valkey, A, (budget, 10))
    assert [fold(valkey, budget, 10, 1, A, C) for _ in range(2)] == [1, 0]
    assert sums(valkey, budget) == (10, 0, 0)


def test_a_hand_in_is_taken_once_and_never_turns_pending_into_held(valkey: redis.Redis) -> None:
    budget = applied(100)
    open_ledger(valkey, budget)
    valkey.set(ledger.EPOCH_KEY, f"closed {EPOCH}")

    def hand_in(state: str, amount: int) -> int | Unavailable:
        command = ledger.hand_in(EPOCH, A, state, AT_S, OWNER, [(budget.key, amount)])
        return ledger.parse_change(run(valkey, command))

    assert [hand_in(ledger.HELD, 50), hand_in(ledger.HELD, 50)] == [1, 0]
    assert [hand_in(ledger.PENDING, 20), hand_in(ledger.PENDING, 20), hand_in(ledger.HELD, 50)] == [1, 0, 0]
    assert valkey.hgetall(budget.key) == {
        b"held": b"0",
        b"pending": b"20",
        A.encode(): f"p20:{AT_S}:{OWNER}".encode(),
    }


@pytest.mark.parametrize("word", ["", "open other:server", "closed other:server", f"wiping {EPOCH}"])
def test_another_epoch_changes_nothing(valkey: redis.Redis, word: str) -> None:
    budget = applied(100)
    open_ledger(valkey, budget)
    reserve(valkey, A, (budget, 10))
    before = valkey.hgetall(budget.key)
    valkey.set(ledger.EPOCH_KEY, word)
    assert reserve(valkey, B, (budget, 1)) == Unavailable(word)
    assert settle(valkey, A, (budget, 1)) == Unavailable(word)
    assert release(valkey, A, budget) == Unavailable(word)
    assert fold(valkey, budget, 10, 1, A) == Unavailable(word)
    assert valkey.hgetall(budget.key) == before


def test_a_closed_ledger_grants_nothing_but_can_be_filled(valkey: redis.Redis) -> None:
    budget = applied(100)
    open_ledger(valkey, budget)
    reserve(valkey, A, (budget, 10))
    valkey.set(ledger.EPOCH_KEY, f"closed {EPOCH}")
    assert reserve(valkey, B, (budget, 1)) == Unavailable(f"closed {EPOCH}")
    assert settle(valkey, A, (budget, 5)) == 1
    assert fold(valkey, budget, 5, 1, A) == 1


def test_a_budget_whose_sums_are_not_there_yet_is_unavailable(valkey: redis.Redis) -> None:
    known, new = applied(100, id=1), applied(100, id=2)
    open_ledger(valkey, known)
    assert reserve(valkey, A, (known, 1), (new, 1)) == Unavailable("", uncounted_index=1)
    run(valkey, ledger.fold(EPOCH, fold_of(new, 99, 1, announces=True)))
    assert reserve(valkey, A, (known, 2), (new, 2)) == Exhausted(1, 99, 0, 0)
    assert reserve(valkey, A, (known, 1), (new, 1)) == Granted((99, 0))


def test_sums_past_what_lua_formats_stay_exact(valkey: redis.Redis) -> None:
    budget = applied(MOST_NANOUSD)
    open_ledger(valkey, budget)
    large = 123_456_789_012_345_678 // 100
    fold(valkey, budget, MOST_NANOUSD - 2 * large - 1, 1)
    assert reserve(valkey, A, (budget, large)) == Granted((large + 1,))
    settle(valkey, A, (budget, large))
    assert reserve(valkey, B, (budget, large + 2)) == Exhausted(0, MOST_NANOUSD - 2 * large - 1, large, 0)
    assert reserve(valkey, B, (budget, large + 1)) == Granted((0,))


def test_an_amount_beyond_all_limits_is_refused(valkey: redis.Redis) -> None:
    budget = applied(MOST_NANOUSD)
    open_ledger(valkey, budget)
    assert reserve(valkey, A, (budget, 10**30)) == Exhausted(0, 0, 0, 0)


def test_of_200_callers_on_their_own_connections_exactly_as_many_as_fit_get_through(
    valkey: redis.Redis, valkey_url: str
) -> None:
    tenant, user = applied(1000, id=1), applied(370, id=2, value="ann")
    open_ledger(valkey, tenant, user)

    def call(number: int) -> bool:
        with redis.Redis.from_url(valkey_url) as client:
            return isinstance(reserve(client, f"{number:016x}", (tenant, 10), (user, 10)), Granted)

    with ThreadPoolExecutor(32) as pool:
        granted = list(pool.map(call, range(200)))
    assert sum(granted) == 37
    assert (sums(valkey, tenant), sums(valkey, user)) == ((0, 0, 370), (0, 0, 370))


def test_a_swept_key_is_one_without_live_attempts(valkey: redis.Redis) -> None:
    budget = applied(100)
    open_ledger(valkey, budget)
    reserve(valkey, A, (budget, 10))
    assert run(valkey, ledger.sweep(EPOCH, budget.key)) == [1, 0]
    fold(valkey, budget, 10, 1, A)
    assert run(valkey, ledger.sweep(EPOCH, budget.key)) == [1, 1]


def test_a_key_tells_its_parts_whatever_the_value() -> None:
    value = 'a:b{c}:"d"'
    assert ledger.key_parts(ledger.budget_key(7, 1, 2, 3600, value)) == KeyParts(7, 1, 2, 3600, value)
    assert ledger.key_parts(ledger.counted_key(7)) is None
    assert ledger.key_parts(ledger.owner_key("a:b:c:d:e")) is None
