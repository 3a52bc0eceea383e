"""What verify finds, and how two queries are compared: what is kept as sums against what the raw data say."""

# ruff: noqa: S608 -- statements are put together of constants, values are bound

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

MOST_DIFFERENCES = 1000  # of one check

# From when on a tenant's raw data are complete: retention lets go what is older (llmobs/keeping), and what it let go
# stays gone when the tenant keeps more from then on. Roll-ups may be kept for less.
_SINCE = (
    "COALESCE((SELECT GREATEST(date_trunc('day', now() - {days} * interval '1 day'), "
    "(SELECT max(k.day) FROM (SELECT tenant_id AS whose, kind, day FROM kept_from) k "
    "WHERE k.whose = t.id AND k.kind IN ({kinds}))) + interval '2 days' "
    "FROM tenants_tenant t WHERE t.id = tenant_id), '-infinity')"
)
COMPLETE_SINCE = _SINCE.format(days="retention_days", kinds="'spans'")
ROLLED_UP_SINCE = _SINCE.format(
    days="LEAST(retention_days, COALESCE(rollup_retention_days, retention_days))", kinds="'spans', 'rollups'"
)
BILLED_COMPLETE_SINCE = _SINCE.format(days="bill_retention_days", kinds="'bills'")
# Bills may be let go too; what budgets spent before is not recomputed.
BILLED_SINCE = (
    "SELECT GREATEST(date_trunc('day', now() - bill_retention_days * interval '1 day'), "
    "(SELECT day FROM kept_from k WHERE k.tenant_id = t.id AND k.kind = 'bills')) + interval '2 days' "
    "FROM tenants_tenant t WHERE t.id = %s"
)

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that does not add up: which check, where, what is kept and what the raw data say."""

    check: str
    where: str
    kept: str
    raw: str

    def __str__(self) -> str:
        return f"{self.check}: {self.where}: kept {self.kept}, raw {self.raw}"


def compare(
    conn: Connection, check: str, kept: str, raw: str, columns: str, measures: list[str], since: str
) -> Iterator[Difference]:
    """Rows of two queries by their columns; a row that is missing is one of zeros. `since`: SQL, which are compared."""
    differing = " OR ".join(f"COALESCE(k.{name}, 0) <> COALESCE(r.{name}, 0)" for name in measures)
    selected = ", ".join(f"COALESCE(k.{name}, 0), COALESCE(r.{name}, 0)" for name in measures)
    rows = conn.execute(
        f"SELECT {columns}, {selected} FROM ({kept}) k FULL JOIN ({raw}) r USING ({columns}) "
        f"WHERE ({differing}) AND {since} LIMIT {MOST_DIFFERENCES}"
    ).fetchall()
    width = columns.count(",") + 1
    for row in rows:
        for index, name in enumerate(measures):
            kept_value, raw_value = row[width + 2 * index], row[width + 2 * index + 1]
            if kept_value != raw_value:
                yield Difference(check, f"{name} of {where(row[:width])}", str(kept_value), str(raw_value))


def where(key: tuple[Any, ...]) -> str:
    tenant_id, *rest = key
    return f"tenant {tenant_id}, " + ", ".join(str(part) for part in rest)
