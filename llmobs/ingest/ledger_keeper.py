"""The writer's side of the ledger: sends folds, joins a new epoch, recovers a lost ledger, mends what the dead left.

Valkey away: commits go on, folds wait, bounded; what was dropped is mended by `recovery.join`, which brings the bases
from PostgreSQL and drops the attempts that have a bill.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import redis
import structlog

from llmobs.budgets import ledger, recovery, sweep, valkey
from llmobs.budgets.definition import USD, Budgets
from llmobs.budgets.ledger import Fold
from llmobs.budgets.recovery import HandIn, Offset
from llmobs.core.clock import NS_PER_SECOND, now_ns
from llmobs.ingest.entries import Begin, End
from llmobs.ingest.journal_folders import is_owner_alive, owners
from llmobs.ingest.journal_reader import JournalReader
from llmobs.ingest.shares import living_writers

MOST_WAITING_FOLDS = 50_000
LOOK_SECONDS = 0.5  # how often the epoch is looked at
MEND_SECONDS = 30.0
SWEEP_SECONDS = 3600.0
SEEN_SECONDS = 5
IN_ORDER_SECONDS = 2.0  # how long folds wait for those of another writer that committed before
PAUSE_SECONDS = 0.05  # between two looks whether gateways have acknowledged

log = structlog.get_logger()


class HostJournals:
    """What recovery reads of this host's journals (`budgets.recovery.Journals`).

    Those of this writer and those that no living writer has: of its own each writer knows best what is committed, and
    it brings them in when it joins, as those of other hosts do. One that lives and has not joined stands still: until
    it goes on, nobody else would tell of what has ended in its journals, so they are read for it.
    """

    def __init__(
        self,
        journal: Path,
        key: bytes,
        conn: psycopg.Connection[Any],
        me: str,
        budgets: Budgets,
        mine: Callable[[], list[Path]],
    ) -> None:
        self._journal = journal
        self._mine = mine
        self._key = key
        self._conn = conn
        self._me = me
        self._budgets = budgets
        self._taken: list[Path] | None = None
        self.waited_s = 0.0  # for living owners to acknowledge

    def living(self) -> set[str]:
        """Gateways and other writers seen lately; one whose lock on this host is free is dead, however lately."""
        rows = self._conn.execute(
            "SELECT owner FROM heartbeat WHERE kind IN ('gateway', 'writer') AND owner <> %s "
            "AND seen_at > now() - make_interval(secs => %s)",
            (self._me, SEEN_SECONDS),
        ).fetchall()
        seen = {str(owner) for (owner,) in rows}
        return {owner for owner in seen if self._may_live(owner)}

    def _may_live(self, owner: str) -> bool:
        folder = self._journal / owner
        return is_owner_alive(folder) if folder.exists() else True

    def take(self) -> None:
        """See `recovery.Journals`."""
        self._taken = self._mine()

    def hand_ins(self, offsets: dict[str, Offset], acknowledged: set[str]) -> Iterator[HandIn]:
        """See `recovery.Journals`."""
        for folder in self._untold(acknowledged) if self._taken is None else self._taken:
            reader = JournalReader(folder, self._key)
            offset = offsets.get(reader.owner, Offset(0, 0))
            yield from self._of_owner(reader, offset, reader.owner in acknowledged)

    def _untold(self, acknowledged: set[str]) -> list[Path]:
        silent = living_writers(self._journal) - acknowledged - {self._me}
        return owners(self._journal) if silent else self._mine()

    def _of_owner(self, reader: JournalReader, offset: Offset, has_acknowledged: bool) -> Iterator[HandIn]:
        begun: dict[bytes, Begin] = {}
        position = offset.low_water
        while (chunk := reader.read(position)).entries:
            for at, entry in chunk.entries:
                if isinstance(entry, Begin):
                    begun[entry.attempt] = entry
                elif isinstance(entry, End):
                    begin = begun.pop(entry.attempt, None)
                    if begin is not None and at >= offset.committed and entry.usage is not None:
                        yield self._pending(reader.owner, begin, entry)
            position = chunk.next
        if not has_acknowledged:
            for begin in begun.values():
                yield _hand_in(reader.owner, begin, ledger.HELD, [hold.amount for hold in begin.holds])

    def _pending(self, owner: str, begin: Begin, end: End) -> HandIn:
        amounts = []
        for hold in begin.holds:
            budget = self._budgets.get(hold.budget_id)
            is_money = budget is None or budget.unit == USD
            tokens = end.usage.total if end.usage else 0
            cost = hold.amount if end.cost_nanousd is None else end.cost_nanousd  # as its bill takes it
            amounts.append(cost if is_money else tokens)
        return _hand_in(owner, begin, ledger.PENDING, amounts)

    def wait(self, waited_s: float) -> float:
        time.sleep(PAUSE_SECONDS)
        self.waited_s = waited_s + PAUSE_SECONDS
        return self.waited_s


def _hand_in(owner: str, begin: Begin, state: str, amounts: list[int]) -> HandIn:
    keys = [ledger.hold_key(begin.tenant_id, hold) for hold in begin.holds]
    return HandIn(
        attempt=begin.attempt.hex(),
        state=state,
        begin_s=begin.start_ns // NS_PER_SECOND,
        owner=owner,
        holds=list(zip(keys, amounts, strict=True)),
    )


class LedgerKeeper:
    """Keeps the ledger in step with what is committed. Driven by the writer's loop; never raises for Valkey."""

    def __init__(
        self, client: redis.Redis, owner: str, journal: Path, key: bytes, mine: Callable[[], list[Path]]
    ) -> None:
        """`mine`: the journals of this writer, and those that no living one has."""
        self._client = client
        self._mine = mine
        self._owner = owner
        self._journal = journal
        self._key = key
        self._epoch: str | None = None
        self._folds: deque[Fold] = deque(maxlen=MOST_WAITING_FOLDS)
        self._dead: set[str] = set()
        self._released: set[str] = set()
        self._waits_since = 0.0  # for another writer's folds; 0: none do
        self._look_at = self._mend_at = self._sweep_at = 0.0
        self._settling_s = sweep.SETTLING_S

    @property
    def waiting_folds(self) -> int:
        return len(self._folds)

    def add(self, folds: Iterable[Fold]) -> None:
        """Folds of a commit, in their order."""
        self._folds.extend(folds)

    def took_over(self) -> None:
        """Another writer's journal is ours: if it died between a commit and its folds, the next base that we fold holds
        what still pends, which would count twice until it is back.
        """
        self._mend_at, self._settling_s = 0.0, 0

    def is_released(self, owner: str) -> bool:
        """Whether nothing is held any more by an owner that is dead and whose journal is committed to its end.

        The first question asks for it to be done, after the folds that wait. Until the answer is yes, its journal
        must stay: it is what a writer that starts anew would know the owner by.
        """
        if owner in self._released:
            self._released.discard(owner)
            return True
        self._dead.add(owner)
        return False

    def keep(self, conn: psycopg.Connection[Any], budgets: Budgets) -> None:
        """One turn: find the epoch, send what waits, mend now and then. Raises psycopg's errors only."""
        try:
            now = time.monotonic()
            if self._epoch is None or now >= self._look_at:
                self._look_at = now + LOOK_SECONDS
                self._find_epoch(conn, budgets)
            if self._epoch is not None:
                self._send()
                self._mend(conn, budgets, now)
        except valkey.EpochChanged:
            self._epoch = None
        except (redis.RedisError, OSError) as error:
            if self._epoch is not None:
                log.warning("ledger away", error=type(error).__name__, waiting_folds=len(self._folds))
            self._epoch, self._look_at = None, time.monotonic() + LOOK_SECONDS

    def _find_epoch(self, conn: psycopg.Connection[Any], budgets: Budgets) -> None:
        open_epoch = recovery.open_epoch(self._client)
        if open_epoch is not None and open_epoch == self._epoch:
            return
        self._epoch = None
        journals = HostJournals(self._journal, self._key, conn, self._owner, budgets, self._mine)
        if open_epoch is None:
            began = time.monotonic()
            recovered = recovery.recover(conn, self._client, journals, now_ns())
            log.info(
                "ledger recovered" if recovered else "ledger is recovered by another writer",
                seconds=round(time.monotonic() - began, 2),
                waited_seconds=round(journals.waited_s, 2),
            )
            if recovered:
                recovery.acknowledge(self._client, recovered, self._owner)
        self._epoch = recovery.join(conn, self._client, journals, self._owner, now_ns())

    def _send(self) -> None:
        assert self._epoch is not None
        if self._folds:
            self._fold(self._epoch)
        for owner in sorted(self._dead) if not self._folds else ():  # what waits still pends, maybe as the dead one's
            released = sweep.release_owner(self._client, self._epoch, owner)
            log.info("holds of a dead owner released", owner=owner, released=released)
            self._dead.discard(owner)
            self._released.add(owner)

    def _fold(self, epoch: str) -> None:
        folds, now = list(self._folds), time.monotonic()
        if self._waits_since and now - self._waits_since > IN_ORDER_SECONDS:
            valkey.fold(self._client, epoch, folds)  # who committed before stands still, or died: the base is in force
            waiting: list[Fold] = []
        else:
            waiting = valkey.fold_in_order(self._client, epoch, folds)
        self._waits_since = (self._waits_since or now) if waiting else 0.0
        self._folds = deque(waiting, self._folds.maxlen)

    def _mend(self, conn: psycopg.Connection[Any], budgets: Budgets, now: float) -> None:
        assert self._epoch is not None
        if now >= self._mend_at:
            self._mend_at = now + MEND_SECONDS
            sweep.drop_billed(conn, self._client, self._epoch, now_ns(), self._settling_s)
            self._settling_s = sweep.SETTLING_S
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS
            sweep.sweep_windows(self._client, self._epoch, budgets, now_ns())
            if lapsed := sweep.lapse(self._client, self._epoch, now_ns()):
                log.warning("holds of a host that never came back have lapsed", attempts=lapsed)
