"""Rebuilds a ledger that was lost: the writer's part (the gateways' is budgets/attempts.py).

The ledger is lost when `ledger:epoch` is missing, made by another server process (run_id), or left closed by a
recoverer that died. One writer at a time, under an advisory lock:

1. "wiping E": nobody joins it. All keys of the ledger go, for a restart may have brought old ones back.
2. "closed E": gateways join it: each hands in its live attempts and acknowledges. `reserve` is still refused.
3. Bases and journal offsets are read in one repeatable read, and the bases put in place, newest version first come.
4. Wait for the living owners' acknowledgements, within bounds.
5. From the journals, what lies past those offsets: what has ended, as pending; what was begun without End, as held,
   for owners that have not acknowledged (those that have did it themselves, and may release it any moment).
6. What of all this has a bill by now goes, with the base that holds it: a writer that died between two transactions of
   a turn has left bills past its offset.
7. "open E", if it still is "closed E".

Why it neither loses nor doubles: an attempt's End is either before the offset, thus in the base of the same snapshot;
or past it, and step 5 reads it, because a gateway that acknowledged had appended every End of what it did not hand
in. Commits are not made meanwhile by this writer; another writer's folds answer EPOCH until it has joined, which is
`join`: the same bases and hand-ins for its own journals. A writer that lives and stands still is not waited for longer
than PATIENCE_S: on the recoverer's host its journals are read for it, another host's it brings in when it goes on.
Versions let the newest base win in any order.

A base never comes before the fold that drops what is in it: others commit at any time, so the ledger is asked for its
attempts after the moment that the base is of. Whatever has a bill then, and is there still, goes in the same step.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from llmobs.budgets import ledger
from llmobs.budgets.attempts import sound_epoch
from llmobs.budgets.canary import BUDGET as CANARY
from llmobs.budgets.definition import Budgets, Connection, load
from llmobs.budgets.ledger import CLOSED, EPOCH_KEY, OPEN, PREFIX, WIPING, Fold, text
from llmobs.budgets.spend import announcement, fold_of, spent_row
from llmobs.budgets.sweep import SWEEP_AFTER_S, Waiting, billed_folds, drop_billed, live_attempts, one_moment
from llmobs.budgets.valkey import Client, batches, fold, scan, send
from llmobs.budgets.window import TOTAL, longest_s
from llmobs.core.clock import NS_PER_SECOND, utc_from_ns

# Session lock of the recoverer. The number says nothing.
RECOVERY_LOCK = 0x6275646765740002

# How long a silent living owner is waited for; longer than a grant lives (attempts.GRANT_LIVES_S).
PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Offset:
    """How far an owner's journal was committed (`journal_offset`)."""

    low_water: int
    committed: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Bases, the budgets that are counted, and offsets: as of one moment in PostgreSQL."""

    folds: tuple[Fold, ...]
    offsets: dict[str, Offset]


@dataclass(frozen=True, slots=True)
class HandIn:
    """An attempt from a journal. `holds` are (ledger key, amount): what it holds, or what it cost."""

    attempt: str
    state: str  # ledger.HELD or ledger.PENDING
    begin_s: int
    owner: str
    holds: Sequence[tuple[str, int]]


class Journals(Protocol):
    """What recovery asks of the writer."""

    def take(self) -> None:
        """Hold, from now on, the journals that `hand_ins` then reads: nobody else commits what is in them."""

    def living(self) -> set[str]:
        """Gateways (and other writers) alive now: whose acknowledgement is waited for."""

    def hand_ins(self, offsets: dict[str, Offset], acknowledged: set[str]) -> Iterable[HandIn]:
        """Read this host's journals to their ends, from `offsets` (an owner not named there: from the start): those
        that were taken; if none were, all that no living writer brings in by itself.

        PENDING for each End past `committed` that charged something; HELD for each Begin from `low_water` on without
        End, unless its owner is among `acknowledged`.
        """

    def wait(self, waited_s: float) -> float:
        """Let a moment pass and answer the seconds waited in all (the clock is the caller's)."""


# ---------------------------------------------------------------- is it lost?


def run_id(client: Client) -> str:
    """The server process that answers."""
    info = client.execute_command("INFO", "server")
    if isinstance(info, dict):
        return str(info["run_id"])
    return next(line[7:] for line in text(info).splitlines() if line.startswith("run_id:"))


def epoch_word(client: Client) -> str:
    """What `ledger:epoch` says; "" when it is not there."""
    return text(client.execute_command("GET", EPOCH_KEY))


def open_epoch(client: Client) -> str | None:
    """The epoch, if the ledger is whole and open; None asks for `recover`."""
    word = epoch_word(client)
    return sound_epoch(run_id(client), word) if word.startswith(f"{OPEN} ") else None


# ---------------------------------------------------------------- recover and join


def recover(conn: Connection, client: Client, journals: Journals, at_ns: int) -> str | None:
    """Rebuild the ledger and open it; the new epoch, or None when another writer is at it.

    `conn` is in autocommit. Raises EpochChanged, or what a lost store raises: try again.
    """
    row = conn.execute("SELECT pg_try_advisory_lock(%s)", (RECOVERY_LOCK,)).fetchone()
    if row is None or not row[0]:
        return None
    try:
        epoch = close(client)
        snapshot = read_snapshot(conn, at_ns)
        publish(client, epoch, snapshot)
        acknowledged = _await_owners(client, epoch, journals)
        hand_in(client, epoch, journals.hand_ins(snapshot.offsets, acknowledged))
        drop_billed(conn, client, epoch, at_ns, older_than_s=0)
        _turn(client, f"{CLOSED} {epoch}", f"{OPEN} {epoch}")
        return epoch
    finally:
        conn.execute("SELECT pg_advisory_unlock(%s)", (RECOVERY_LOCK,))


def join(conn: Connection, client: Client, journals: Journals, owner: str, at_ns: int) -> str | None:
    """Bring a writer that (re)starts, or did not lead a recovery, into the ledger's epoch; None when there is none.

    It brings bases, and what its predecessor committed without folding; into an epoch that it was not in yet its
    journals too, also if that was opened without it: it stood still on another host, and what ended there is missing. A
    base and the attempts that are in it come in one step: between two, they would count twice, and calls that fit would
    be refused.
    """
    word = epoch_word(client)
    epoch = sound_epoch(run_id(client), word)
    if epoch is None:
        return None
    journals.take()  # before the moment of the offsets: what another commits after it would count twice
    snapshot = read_snapshot(conn, at_ns, lambda: list(live_attempts(client)))
    publish(client, epoch, snapshot)
    acknowledged = acknowledged_owners(client, epoch, {owner, *journals.living()})
    if owner not in acknowledged:
        hand_in(client, epoch, journals.hand_ins(snapshot.offsets, acknowledged))
        drop_billed(conn, client, epoch, at_ns, older_than_s=0)
    acknowledge(client, epoch, owner)
    return epoch


def acknowledge(client: Client, epoch: str, owner: str) -> None:
    """Say that all that this owner knows of is in the epoch."""
    client.execute_command("SET", ledger.owner_key(owner), epoch)


def close(client: Client) -> str:
    """Begin a new epoch: empty, and closed."""
    epoch = f"{os.urandom(8).hex()}:{run_id(client)}"
    client.execute_command("SET", EPOCH_KEY, f"{WIPING} {epoch}")
    for names in batches(name for name in scan(client, f"{PREFIX}*") if name != EPOCH_KEY):
        client.execute_command("UNLINK", *names)
    _turn(client, f"{WIPING} {epoch}", f"{CLOSED} {epoch}")
    return epoch


def _turn(client: Client, was: str, becomes: str) -> None:
    send(client, [ledger.turn(was, becomes)])


def read_snapshot(conn: Connection, at_ns: int, live: Callable[[], Waiting] = tuple) -> Snapshot:
    """Bases and offsets of one moment; first those that take attempts out of the ledger, since they hold them.

    `live`: what lives in the ledger, asked for after that moment. `conn` must not be in a transaction.
    """
    with one_moment(conn):
        budgets = load(conn)  # begins the moment
        folds = (*billed_folds(conn, live()), *_bases(conn, budgets, at_ns))
        rows = conn.execute("SELECT owner, low_water, committed FROM journal_offset").fetchall()
    offsets = {owner: Offset(low_water, committed) for owner, low_water, committed in rows}
    return Snapshot(folds, offsets)


_BASES = """
SELECT s.tenant_id, s.budget_id, s.revision, s.value, s.window_start, s.spent, s.version
FROM budget_spend s JOIN unnest(%s::bigint[], %s::bigint[], %s::integer[], %s::timestamptz[])
    AS b (tenant_id, budget_id, revision, since) USING (tenant_id, budget_id, revision)
WHERE s.window_start >= b.since
"""


def _bases(conn: Connection, budgets: Budgets, at_ns: int) -> Iterator[Fold]:
    """Bases of windows that are not long over; then each counted budget is announced."""
    counted = [budget for budget in budgets.infos if budget.is_counted]
    at_s = at_ns // NS_PER_SECOND
    since = [
        0 if budget.window == TOTAL else max(0, at_s - longest_s(budget.window) - SWEEP_AFTER_S) for budget in counted
    ]
    parameters = (
        [budget.tenant_id for budget in counted],
        [budget.id for budget in counted],
        [budget.revision for budget in counted],
        [utc_from_ns(since_s * NS_PER_SECOND) for since_s in since],
    )
    for row in conn.execute(_BASES, parameters):
        yield fold_of(spent_row(row))
    for budget in (*counted, CANARY):
        yield announcement(budget)


def publish(client: Client, epoch: str, snapshot: Snapshot) -> None:
    """Put the bases in place."""
    fold(client, epoch, snapshot.folds)


def hand_in(client: Client, epoch: str, found: Iterable[HandIn]) -> None:
    """Bring attempts from a journal into the ledger."""
    send(
        client,
        (
            ledger.hand_in(epoch, each.attempt, each.state, each.begin_s, each.owner, each.holds)
            for each in found
            if each.holds
        ),
    )


def _await_owners(client: Client, epoch: str, journals: Journals) -> set[str]:
    """Living owners that have acknowledged; the silent ones are given up after PATIENCE_S."""
    waited_s = 0.0
    while True:
        living = journals.living()
        acknowledged = acknowledged_owners(client, epoch, living)
        if living <= acknowledged or waited_s >= PATIENCE_S:
            return acknowledged
        waited_s = journals.wait(waited_s)


def acknowledged_owners(client: Client, epoch: str, owners: set[str]) -> set[str]:
    """Which of these owners have joined the epoch."""
    names = sorted(owners)
    if not names:
        return set()
    words = client.execute_command("MGET", *(ledger.owner_key(name) for name in names))
    return {name for name, word in zip(names, words, strict=True) if text(word) == epoch}
