"""What a gateway process does towards the ledger, as pure logic against a real Valkey."""

import redis

from llmobs.budgets import ledger, recovery
from llmobs.budgets.attempts import GRANT_LIVES_S, Attempts, Joining
from llmobs.budgets.ledger import Ahead, Command, Exhausted, Granted, Unavailable
from llmobs.budgets.valkey import run
from tests.budgets.made import AT_S, OWNER, applied, fold_of, standing, sums

A, B = "000000000000000a", "000000000000000b"
BUDGET = applied(100)


def new_epoch(client: redis.Redis) -> str:
    """A ledger lost and rebuilt without anybody's attempts."""
    client.flushall()
    epoch = recovery.close(client)
    run(client, ledger.fold(epoch, fold_of(BUDGET, 0, 0, announces=True)))
    client.set(ledger.EPOCH_KEY, f"open {epoch}")
    return epoch


def meet(client: redis.Redis, attempts: Attempts) -> Joining:
    joining = attempts.met(recovery.run_id(client), recovery.epoch_word(client))
    assert joining is not None
    for command in joining.commands:
        assert run(client, command)[0] == ledger.DONE
    if joining.ack:
        _, name, epoch = joining.ack
        client.set(name, epoch)
    attempts.joined(joining.epoch)
    return joining


def call(client: redis.Redis, attempts: Attempts, name: str, amount: int) -> Granted | Exhausted | Unavailable | Ahead:
    return attempts.answered(name, run(client, attempts.ask(name, AT_S, [(BUDGET, amount)], 0.0)), 0.0)


def send(client: redis.Redis, command: Command | None) -> None:
    assert command is not None
    run(client, command)


def test_it_joins_acknowledges_holds_and_settles(valkey: redis.Redis) -> None:
    attempts = Attempts(OWNER)
    epoch = new_epoch(valkey)
    meet(valkey, attempts)
    assert recovery.acknowledged_owners(valkey, epoch, {OWNER, "other"}) == {OWNER}
    assert call(valkey, attempts, A, 80) == Granted((20,))
    assert call(valkey, attempts, B, 80) == Exhausted(0, 0, 0, 80)
    send(valkey, attempts.settle(A, cost_nanousd=30, tokens=7))
    assert sums(valkey, BUDGET) == (0, 30, 0)
    assert len(attempts) == 0


def test_without_a_sound_epoch_nothing_is_granted(valkey: redis.Redis) -> None:
    attempts = Attempts(OWNER)
    for word in ("", "wiping e:run", "open e:another", "nonsense"):
        assert attempts.met("run", word) is None
        assert isinstance(call(valkey, attempts, A, 1), Unavailable)
        assert attempts.give_back(A) is None


def test_live_attempts_are_handed_in_to_a_new_epoch_and_ended_ones_are_not(valkey: redis.Redis) -> None:
    attempts = Attempts(OWNER)
    new_epoch(valkey)
    meet(valkey, attempts)
    call(valkey, attempts, A, 40)
    call(valkey, attempts, B, 30)
    new_epoch(valkey)
    attempts.settle(B, 10, 0)  # its End is in the journal: the writer's from now on
    meet(valkey, attempts)
    assert sums(valkey, BUDGET) == (0, 0, 40)
    send(valkey, attempts.settle(A, 15, 0))
    assert sums(valkey, BUDGET) == (0, 15, 0)


def test_a_grant_of_the_old_epoch_is_none_after_joining_the_new_one(valkey: redis.Redis) -> None:
    attempts = Attempts(OWNER)
    new_epoch(valkey)
    meet(valkey, attempts)
    late = run(valkey, attempts.ask(A, AT_S, [(BUDGET, 40)], 0.0))
    new_epoch(valkey)
    meet(valkey, attempts)
    assert isinstance(attempts.answered(A, late, 0.0), Unavailable)
    assert sums(valkey, BUDGET) == (0, 0, 0)
    assert call(valkey, attempts, A, 40) == Granted((60,))


def test_a_grant_that_took_too_long_must_be_asked_again(valkey: redis.Redis) -> None:
    attempts = Attempts(OWNER)
    new_epoch(valkey)
    meet(valkey, attempts)
    reply = run(valkey, attempts.ask(A, AT_S, [(BUDGET, 40)], 0.0))
    assert isinstance(attempts.answered(A, reply, GRANT_LIVES_S + 0.1), Unavailable)
    assert call(valkey, attempts, A, 40) == Granted((60,))
    assert sums(valkey, BUDGET) == (0, 0, 40)


def test_a_release_without_an_answer_is_repeated_after_a_reconnect(valkey: redis.Redis) -> None:
    attempts = Attempts(OWNER)
    new_epoch(valkey)
    meet(valkey, attempts)
    run(valkey, attempts.ask(A, AT_S, [(BUDGET, 40)], 0.0))  # its answer was lost
    attempts.give_back(A)  # as was this
    assert sums(valkey, BUDGET) == (0, 0, 40)
    meet(valkey, attempts)
    attempts.given_back(A)
    assert (sums(valkey, BUDGET), len(attempts)) == ((0, 0, 0), 0)


def test_a_hand_in_is_repeated_until_it_was_accepted(valkey: redis.Redis) -> None:
    attempts = Attempts(OWNER)
    new_epoch(valkey)
    meet(valkey, attempts)
    call(valkey, attempts, A, 40)
    new_epoch(valkey)
    attempts.met(recovery.run_id(valkey), recovery.epoch_word(valkey))  # the connection broke before it was sent
    meet(valkey, attempts)
    assert standing(valkey, BUDGET).held == 40


def test_one_that_is_asked_again_too_late_and_told_no_gives_back_what_it_was_granted_at_first(
    valkey: redis.Redis,
) -> None:
    """A limit that the first asking took of refuses the second one, before the ledger is asked."""
    attempts = Attempts(OWNER)
    new_epoch(valkey)
    meet(valkey, attempts)
    reply = run(valkey, attempts.ask(A, AT_S, [(BUDGET, 40)], 0.0))
    assert isinstance(attempts.answered(A, reply, GRANT_LIVES_S + 0.1), Unavailable)
    attempts.ask(A, AT_S, [(BUDGET, 40)], 0.0)
    assert isinstance(attempts.answered(A, [0, b"l", 0, 1, 1, 60], 0.0), Ahead)
    send(valkey, attempts.give_back(A))
    attempts.given_back(A)
    assert (sums(valkey, BUDGET), len(attempts)) == ((0, 0, 0), 0)


def test_a_release_that_is_confirmed_late_does_not_forget_what_was_asked_since(valkey: redis.Redis) -> None:
    attempts = Attempts(OWNER)
    new_epoch(valkey)
    meet(valkey, attempts)
    call(valkey, attempts, A, 40)
    send(valkey, attempts.give_back(A))
    reply = run(valkey, attempts.ask(A, AT_S, [(BUDGET, 30)], 0.0))
    attempts.given_back(A)
    assert attempts.answered(A, reply, 0.0) == Granted((70,))
    send(valkey, attempts.settle(A, 10, 0))
    assert sums(valkey, BUDGET) == (0, 10, 0)
