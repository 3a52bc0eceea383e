"""From which day on each tenant keeps what; days are UTC's, as partitions are."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import psycopg

from llmobs.rollups.retention import MINUTES_KEPT_DAYS

CONTENT, SPANS, ROLLUPS, MINUTES, BILLS = "content", "spans", "rollups", "minutes", "bills"

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Horizon:
    """The oldest day of each kind that one tenant still keeps; None: all of them."""

    tenant_id: int
    slug: str
    archive: str
    days: dict[str, date | None]

    def is_past(self, kind: str, day: date) -> bool:
        """Whether the tenant keeps this day no longer."""
        oldest = self.days[kind]
        return oldest is not None and day < oldest


def horizons(conn: Connection, today: date) -> dict[int, Horizon]:
    """Each tenant's, by its id."""
    rows = conn.execute(
        "SELECT id, slug, archive, retention_days, content_retention_days, rollup_retention_days, bill_retention_days "
        "FROM tenants_tenant ORDER BY id"
    ).fetchall()
    return {row[0]: _horizon(today, *row) for row in rows}


def _horizon(
    today: date, tenant_id: int, slug: str, archive: str, spans: int, content: int | None, rollups: int | None,
    bills: int | None,
) -> Horizon:  # fmt: skip
    rollup_days = spans if rollups is None else rollups
    kept: dict[str, int | None] = {
        CONTENT: spans if content is None else min(content, spans),
        SPANS: spans,
        ROLLUPS: rollup_days,
        MINUTES: min(rollup_days, MINUTES_KEPT_DAYS),
        BILLS: None if bills is None else max(bills, spans),
    }
    days = {kind: None if count is None else today - timedelta(days=count) for kind, count in kept.items()}
    return Horizon(tenant_id, slug, archive, days)


def remember(conn: Connection, found: dict[int, Horizon]) -> None:
    """Write down, before anything goes, from when on each kind is complete; a later day stands."""
    rows = [(each.tenant_id, kind, day) for each in found.values() for kind, day in each.days.items() if day]
    if rows:
        with conn.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO kept_from AS k (tenant_id, kind, day) VALUES (%s, %s, %s) "
                "ON CONFLICT (tenant_id, kind) DO UPDATE SET day = GREATEST(k.day, excluded.day)",
                rows,
            )
