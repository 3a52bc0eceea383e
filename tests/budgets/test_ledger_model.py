"""The ledger against a model of the truth: any order of calls, crashes of Valkey, late and repeated messages."""

from dataclasses import dataclass

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from llmobs.budgets import ledger, recovery, sweep
from llmobs.budgets.definition import Applied
from llmobs.budgets.ledger import Exhausted, Fold, Granted, Unavailable
from llmobs.budgets.recovery import HandIn, Snapshot
from llmobs.budgets.valkey import EpochChanged, run
from llmobs.budgets.valkey import fold as send_folds
from tests.budgets.made import AT_S, OWNER, applied, fold_of, release, reserve, settle, sums

# A parent over a child, and a rolling window in whose other days something was spent.
BUDGETS = (applied(100, id=1), applied(60, id=2), applied(90, id=3, window="7d"))
YESTERDAY = {3: 7}
OWNERS = (OWNER, "gateway-2")
AMOUNTS = st.integers(0, 40)


@dataclass
class Attempt:
    """What truly became of one attempt."""

    name: str
    held: int
    owner: str = OWNER
    actual: int | None = None  # once it has ended
    is_settled: bool = False
    is_committed: bool = False


def before_today(budget: Applied) -> int:
    return YESTERDAY.get(budget.budget.id, 0)


def yesterday(budget: Applied) -> Fold:
    """The day before, as the ledger has it."""
    parts = ledger.key_parts(budget.days[-2])
    assert parts is not None
    spent = before_today(budget)
    return Fold(parts.tenant_id, parts.budget_id, parts.revision, parts.window_start_s, parts.value, spent, 1)


class LedgerMachine(RuleBasedStateMachine):
    """Drives all budgets at once; each attempt holds the same amount of each."""

    client: redis.Redis
    running = Bundle("running")
    ended = Bundle("ended")

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.attempts: list[Attempt] = []
        self.number = 0
        self.spent = 0  # durable: in PostgreSQL
        self.version = 0
        self.beyond = 0  # what no gateway could refuse
        self.undelivered: list[tuple[int, int, tuple[str, ...]]] = []
        self.delivered: list[tuple[int, int, tuple[str, ...]]] = []
        self.recover()

    # ---- calls

    @rule(target=running, amount=AMOUNTS, owner=st.sampled_from(OWNERS))
    def call(self, amount: int, owner: str) -> Attempt:
        self.number += 1
        attempt = Attempt(f"{self.number:016x}", amount, owner)
        before = [self.counted(budget) for budget in BUDGETS]
        outcome = self.ask(attempt)
        fits = [sum(sums_of) + amount <= budget.budget.limit for sums_of, budget in zip(before, BUDGETS, strict=True)]
        if all(fits):
            assert isinstance(outcome, Granted)
            self.attempts.append(attempt)
            for budget in BUDGETS:
                assert self.exposure() + before_today(budget) <= budget.budget.limit + self.beyond
        else:
            index = fits.index(False)
            assert outcome == Exhausted(index, *before[index])
            if self.is_at_rest():
                assert self.exposure() + before_today(BUDGETS[index]) + amount > BUDGETS[index].budget.limit
            attempt.is_committed = attempt.is_settled = True  # never was
            attempt.actual = 0
        return attempt

    @rule(attempt=running)
    def call_again(self, attempt: Attempt) -> None:
        if attempt.actual is None:
            before = self.standings()
            assert isinstance(self.ask(attempt), Granted)
            assert self.standings() == before

    def ask(self, attempt: Attempt) -> object:
        asked = [(budget, attempt.held) for budget in BUDGETS]
        return reserve(self.client, attempt.name, *asked, epoch=self.epoch, owner=attempt.owner)

    @rule(amount=AMOUNTS, times=st.integers(1, 3))
    def call_unheard(self, amount: int, times: int) -> None:
        """The reply was lost: asked again and again, then given back without knowing what came of it."""
        self.number += 1
        attempt, before = Attempt(f"{self.number:016x}", amount), self.standings()
        for _ in range(times):
            self.ask(attempt)
        for _ in range(times):
            release(self.client, attempt.name, *BUDGETS, epoch=self.epoch)
        assert self.standings() == before

    @rule(amount=AMOUNTS, was_begun=st.booleans())
    def an_owner_dies(self, amount: int, was_begun: bool) -> None:
        """What it only held is given back once its journal is read; what it began is billed at its hold."""
        self.number += 1
        attempt = Attempt(f"{self.number:016x}", amount, f"dead-{self.number}")
        before = self.standings()
        if not isinstance(self.ask(attempt), Granted):
            return
        if was_begun:
            attempt.actual = amount
            self.attempts.append(attempt)
            attempt.is_settled = attempt.is_committed = True
            self.spent += amount
            self.version += 1
            self.send((self.spent, self.version, (attempt.name,)))
        assert sweep.release_owner(self.client, self.epoch, attempt.owner) == (0 if was_begun else len(BUDGETS))
        if not was_begun:
            assert self.standings() == before

    @rule(target=ended, attempt=consumes(running), actual=st.integers(0, 50))
    def end(self, attempt: Attempt, actual: int) -> Attempt:
        if attempt.actual is None:
            attempt.actual = actual
            self.beyond += max(actual - attempt.held, 0)
        return attempt

    @rule(attempt=consumes(running))
    def give_back(self, attempt: Attempt) -> None:
        if attempt.actual is None:
            release(self.client, attempt.name, *BUDGETS, epoch=self.epoch)
            release(self.client, attempt.name, *BUDGETS, epoch=self.epoch)
            self.attempts.remove(attempt)

    @rule(attempt=ended)
    def settle(self, attempt: Attempt) -> None:
        settle(self.client, attempt.name, *((budget, attempt.actual or 0) for budget in BUDGETS), epoch=self.epoch)
        attempt.is_settled = True

    @rule(attempt=ended)
    def give_back_too_late(self, attempt: Attempt) -> None:
        """What is settled stays, and what is folded is not there."""
        if attempt.is_settled:
            before = self.standings()
            release(self.client, attempt.name, *BUDGETS, epoch=self.epoch)
            assert self.standings() == before

    @rule(amount=AMOUNTS)
    def speak_of_another_epoch(self, amount: int) -> None:
        """Whatever was sent before the ledger was lost, and comes after it, changes nothing."""
        before, asked = self.standings(), [(budget, amount) for budget in BUDGETS]
        late = f"{10**6 + self.number:016x}"
        assert isinstance(reserve(self.client, late, *asked, epoch="gone:server"), Unavailable)
        for attempt in [late, *(each.name for each in self.attempts)]:
            assert isinstance(settle(self.client, attempt, *asked, epoch="gone:server"), Unavailable)
            assert isinstance(release(self.client, attempt, *BUDGETS, epoch="gone:server"), Unavailable)
        with pytest.raises(EpochChanged):
            send_folds(self.client, "gone:server", [fold_of(BUDGETS[0], 0, 10**6)])
        assert run(self.client, ledger.turn("closed gone:server", "open gone:server"))[0] == ledger.EPOCH
        assert self.standings() == before

    @rule()
    def sweep_what_lives(self) -> None:
        """A key in which an attempt lives is never swept."""
        for budget in BUDGETS:
            if ledger.parse_live(self.client.hgetall(budget.key)):
                assert run(self.client, ledger.sweep(self.epoch, budget.key)) == [ledger.DONE, 0]

    # ---- the writer

    @rule(most=st.integers(1, 3))
    def commit(self, most: int) -> None:
        batch = [each for each in self.attempts if each.actual is not None and not each.is_committed][:most]
        if batch:
            for attempt in batch:
                attempt.is_committed = True
            self.add(sum(each.actual or 0 for each in batch), tuple(each.name for each in batch))

    @rule(amount=AMOUNTS)
    def report(self, amount: int) -> None:
        """A bill that came by OTLP."""
        self.beyond += amount
        self.add(amount, ())

    def add(self, amount: int, names: tuple[str, ...]) -> None:
        self.spent += amount
        self.version += 1
        self.undelivered.append((self.spent, self.version, names))

    @rule(pick=st.integers(0, 5))
    def deliver(self, pick: int) -> None:
        if self.undelivered:
            self.send(self.undelivered.pop(pick % len(self.undelivered)))

    @rule(pick=st.integers(0, 5))
    def deliver_again(self, pick: int) -> None:
        if self.delivered:
            self.send(self.delivered[pick % len(self.delivered)])

    def send(self, change: tuple[int, int, tuple[str, ...]]) -> None:
        base, version, names = change
        send_folds(self.client, self.epoch, [fold_of(budget, base, version, *names) for budget in BUDGETS])
        self.delivered.append(change)

    # ---- the end of the world

    @rule()
    def lose_the_ledger(self) -> None:
        self.client.flushall()
        self.recover()

    def recover(self) -> None:
        self.epoch = recovery.close(self.client)
        bases = [fold_of(budget, self.spent, self.version, announces=True) for budget in BUDGETS]
        bases += [yesterday(budget) for budget in BUDGETS if before_today(budget)]
        recovery.publish(self.client, self.epoch, Snapshot(tuple(bases), {}))
        recovery.hand_in(
            self.client, self.epoch, [self.hand_in(each) for each in self.attempts if not each.is_committed]
        )
        send_folds(self.client, self.epoch, [])
        self.client.set(ledger.EPOCH_KEY, f"open {self.epoch}")

    def hand_in(self, attempt: Attempt) -> HandIn:
        is_held = attempt.actual is None
        amount = attempt.held if attempt.actual is None else attempt.actual
        state = ledger.HELD if is_held else ledger.PENDING
        attempt.is_settled = attempt.is_settled or not is_held
        return HandIn(attempt.name, state, AT_S, attempt.owner, [(budget.key, amount) for budget in BUDGETS])

    # ---- what must hold

    def exposure(self) -> int:
        """What is spent, plus what may still be charged."""
        open_ones = [each for each in self.attempts if not each.is_committed]
        return self.spent + sum(each.actual if each.actual is not None else each.held for each in open_ones)

    def counted(self, budget: Applied) -> tuple[int, int, int]:
        """What a reserve sees: base, pending, held, of a rolling window with its other days."""
        base, pending, held = sums(self.client, budget)
        return base + before_today(budget), pending, held

    def standings(self) -> list[tuple[int, int, int]]:
        return [sums(self.client, budget) for budget in BUDGETS]

    def is_at_rest(self) -> bool:
        return not self.undelivered and all(each.is_settled for each in self.attempts if each.actual is not None)

    @invariant()
    def it_never_counts_less_than_the_truth(self) -> None:
        for budget in BUDGETS:
            assert sum(sums(self.client, budget)) >= self.exposure() - self.beyond
            if self.is_at_rest():
                assert sum(sums(self.client, budget)) == self.exposure()

    def teardown(self) -> None:
        for attempt in self.attempts:
            if attempt.actual is None:
                attempt.actual = attempt.held
        while any(not each.is_committed for each in self.attempts):
            self.commit(1000)
        for change in self.undelivered:
            self.send(change)
        for budget in BUDGETS:
            assert sums(self.client, budget) == (self.spent, 0, 0)
        assert all(not ledger.parse_live(self.client.hgetall(budget.key)) for budget in BUDGETS)


def test_whatever_happens_in_any_order_the_ledger_neither_overspends_nor_forgets(valkey: redis.Redis) -> None:
    """PAINS 1, 3: no grant passes a limit, and each attempt counts once, whatever is repeated, late or lost."""
    LedgerMachine.client = valkey
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
