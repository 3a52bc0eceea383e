"""Sessions that are paused, as gateways must know them: rows of PostgreSQL, carried by the configuration's snapshot."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import psycopg

from llmobs.core.clock import ns_from_utc

KEPT = timedelta(hours=48)  # how long a release is told of: a gateway that was cut off for longer starts anew
MOST_LOADED = 20_000


class PauseInfo(msgspec.Struct, frozen=True, array_like=True):
    """A pause. `mark` stands for the session. `is_released`: by a person; what a gateway remembers of it is void."""

    id: str
    tenant_id: int
    mark: str
    until_ns: int
    told: str
    is_released: bool


class Pauses:
    """Pauses by tenant and mark; and those that were released, by id."""

    def __init__(self, infos: list[PauseInfo]) -> None:
        self.open = {(info.tenant_id, info.mark): info for info in infos if not info.is_released}
        self.released = {info.id: info for info in infos if info.is_released}


def load(conn: psycopg.Connection[Any]) -> list[PauseInfo]:
    """Pauses that last, and what was released of late, in a bounded number: of each tenant the newest first, so that
    one with very many takes no other's place.
    """
    rows = conn.execute(
        "SELECT id, tenant_id, mark, until, told, state = 'released' FROM braked_session "
        "WHERE (state = 'paused' AND until > now()) OR (state = 'released' AND ended_at > now() - %s) "
        "ORDER BY row_number() OVER (PARTITION BY tenant_id ORDER BY changed_at DESC) LIMIT %s",
        (KEPT, MOST_LOADED),
    ).fetchall()
    return [_info(*row) for row in rows]


def _info(id: str, tenant_id: int, mark: str, until: datetime | None, told: str, is_released: bool) -> PauseInfo:
    return PauseInfo(id, tenant_id, mark, 0 if until is None else ns_from_utc(until), told, is_released)
