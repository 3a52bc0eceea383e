"""Mends the ledger while it is open: what dead processes left in it, and keys of windows that are long over.

The writer calls these now and then; each reads the whole ledger in steps, so not often. All may be repeated.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from psycopg import IsolationLevel

from llmobs.budgets import ledger
from llmobs.budgets.definition import Budgets, Connection
from llmobs.budgets.ledger import PREFIX, Fold, KeyParts, Live
from llmobs.budgets.spend import fold_of, spent_row
from llmobs.budgets.valkey import Client, batches, fold, run, scan
from llmobs.budgets.window import TOTAL, longest_s
from llmobs.core.clock import NS_PER_SECOND, utc_from_ns

# Windows that ended this long ago may be swept: no call begins in them any more. (A day of a rolling window ends with
# the last window that it is in.)
SWEEP_AFTER_S = 86_400

# Holds this old are nobody's: the longest call takes an hour, and a host that is back within days bills its own.
LAPSE_S = 3 * 86_400

# Keys without attempts older than this are left alone by `drop_billed`: their folds are on their way.
SETTLING_S = 10


def live_attempts(client: Client) -> Iterator[tuple[KeyParts, list[Live]]]:
    """All keys of budgets in which attempts live: reads the whole ledger, in steps."""
    keys = ((key, parts) for key in scan(client, f"{PREFIX}{{*") if (parts := ledger.key_parts(key)) is not None)
    for batch in batches(keys):
        pipeline = client.pipeline(transaction=False)
        for key, _ in batch:
            pipeline.execute_command("HGETALL", key)
        for (_, parts), fields in zip(batch, pipeline.execute(), strict=True):
            found = ledger.parse_live(_pairs(fields))
            if found:
                yield parts, found


def release_owner(client: Client, epoch: str, owner: str) -> int:
    """Give back all that a dead owner still holds; how many.

    Only after its journal was read to the end and committed, and those folds have been sent: what is left was never
    sent upstream, or its fold was lost while its bill is in the base.
    """
    return fold(
        client,
        epoch,
        [
            _dropping(parts, attempts)
            for parts, found in live_attempts(client)
            if (attempts := [live.attempt for live in found if live.owner == owner])
        ],
    )


def _dropping(parts: KeyParts, attempts: Sequence[str]) -> Fold:
    """A fold that leaves the base and drops attempts."""
    key = (parts.tenant_id, parts.budget_id, parts.revision, parts.window_start_s, parts.value)
    return Fold(*key, base=None, version=-1, attempts=tuple(attempts))


def drop_billed(conn: Connection, client: Client, epoch: str, at_ns: int, older_than_s: int = SETTLING_S) -> int:
    """Drop attempts whose bill is committed but whose fold never came, with the base that holds it; how many.

    A key with an old one is brought to one moment as a whole: its base holds what others have just committed, too.
    """
    before_s = at_ns // NS_PER_SECOND - older_than_s
    with one_moment(conn):
        conn.execute("SELECT 1")  # begins the moment
        waiting = [each for each in live_attempts(client) if any(live.begin_s <= before_s for live in each[1])]
        folds = billed_folds(conn, waiting)
    return fold(client, epoch, folds)


@contextmanager
def one_moment(conn: Connection) -> Iterator[None]:
    """A transaction that sees PostgreSQL as of one moment. `conn` must not be in a transaction."""
    before = conn.isolation_level
    conn.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        with conn.transaction():
            yield
    finally:
        conn.isolation_level = before


# A bill's begin is its attempt's, give or take what a gateway may round.
_NEAR_S = 3600

_BILLED = """
SELECT DISTINCT span_id FROM bill
WHERE tenant_id = %s AND begin_at BETWEEN %s AND %s AND span_id = ANY(%s)
"""

# Where attempts live in the ledger, as `live_attempts` tells it.
Waiting = Sequence[tuple[KeyParts, Sequence[Live]]]

_BASE = """
SELECT tenant_id, budget_id, revision, value, window_start, spent, version FROM budget_spend
WHERE tenant_id = %s AND budget_id = %s AND revision = %s AND value = %s AND window_start = %s
"""


def billed_folds(conn: Connection, waiting: Waiting) -> list[Fold]:
    """For each key those of its attempts that have a bill, with the base that holds it: one step drops and counts.

    Call it in `one_moment`, with attempts that were read after that moment had begun.
    """
    billed = _billed(conn, waiting)
    folds = []
    for parts, found in waiting:
        attempts = [live.attempt for live in found if (parts.tenant_id, live.attempt) in billed]
        if attempts:
            key = (parts.tenant_id, parts.budget_id, parts.revision, parts.value, _at(parts.window_start_s))
            row = conn.execute(_BASE, key).fetchone()
            folds.append(fold_of(spent_row(row), attempts) if row is not None else _dropping(parts, attempts))
    return folds


def _billed(conn: Connection, waiting: Waiting) -> set[tuple[int, str]]:
    """Which of these attempts have a bill, each with its tenant."""
    begun: dict[int, dict[str, int]] = {}
    for parts, found in waiting:
        begun.setdefault(parts.tenant_id, {}).update((live.attempt, live.begin_s) for live in found)
    billed = set()
    for tenant_id, attempts in begun.items():
        between = _at(min(attempts.values()) - _NEAR_S), _at(max(attempts.values()) + _NEAR_S)
        ids = [bytes.fromhex(attempt) for attempt in attempts]
        for (span_id,) in conn.execute(_BILLED, (tenant_id, *between, ids)):
            billed.add((tenant_id, span_id.hex()))
    return billed


def _at(seconds: int) -> datetime:
    return utc_from_ns(seconds * NS_PER_SECOND)


def lapse(client: Client, epoch: str, at_ns: int) -> int:
    """Give back what attempts of LAPSE_S ago still hold: their host never came back; how many.

    Should it come back all the same, its journals bill them. What has ended and waits for its bill stays: it was spent.
    """
    before_s = at_ns // NS_PER_SECOND - LAPSE_S
    changes = [
        _dropping(parts, old)
        for parts, found in live_attempts(client)
        if (old := [live.attempt for live in found if live.state == ledger.HELD and live.begin_s <= before_s])
    ]
    return fold(client, epoch, changes)


def sweep_windows(client: Client, epoch: str, budgets: Budgets, at_ns: int) -> int:
    """Delete keys of windows that ended a day ago and in which no attempt lives; how many. Keys never expire."""
    at_s = at_ns // NS_PER_SECOND
    deleted = 0
    for key in scan(client, f"{PREFIX}{{*"):
        parts = ledger.key_parts(key)
        budget = budgets.get(parts.budget_id) if parts is not None else None
        if parts is None or budget is None or budget.window == TOTAL:
            continue
        if parts.window_start_s + longest_s(budget.window) + SWEEP_AFTER_S < at_s:
            reply = run(client, ledger.sweep(epoch, key))
            deleted += reply[1] if reply[0] == ledger.DONE else 0
    return deleted


def _pairs(reply: Any) -> dict[Any, Any]:
    """HGETALL's answer, whether the client has made a dict of it or not."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
