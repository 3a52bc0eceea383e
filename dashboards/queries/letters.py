"""What could not be written and waits for a person: how many dead letters, and since when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dashboards.queries.scope import Cursor

NOBODYS = 0  # the tenant of an entry that does not say whose it is


@dataclass(frozen=True)
class WaitingLetters:
    """`since`: when the oldest was buried."""

    count: int
    since: datetime


def waiting_letters(cursor: Cursor, tenant_ids: Sequence[int], with_nobodys: bool) -> WaitingLetters | None:
    """Those of the tenants that were not replayed; None: there are none."""
    cursor.execute(
        "SELECT count(*), min(at) FROM dead_letter WHERE tenant_id = ANY(%s) AND replayed_at IS NULL",
        [[*tenant_ids, *([NOBODYS] if with_nobodys else [])]],
    )
    count, since = cursor.fetchone()
    return WaitingLetters(count, since) if count else None
