"""Chargeback: what was billed by day (UTC) and every dimension, keyset-paged in that order."""

# ruff: noqa: S608 - names in the SQL are constants of this module, values are always bound

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from dashboards.queries.scope import Cursor, Scope

DIMENSIONS = {
    "feature": "feature",
    "user": "user_id",
    "service": "service",
    "environment": "environment",
    "model": "model",
    "provider": "provider_name",
    "key": "key_id",
}
SUMS = (
    "sum(requests)",
    "sum(uncached_input_tokens + cache_read_input_tokens + cache_write_5m_input_tokens + cache_write_1h_input_tokens)",
    "sum(output_tokens)",
    "sum(cache_read_input_tokens)",
    "sum(cache_write_5m_input_tokens + cache_write_1h_input_tokens)",
    "sum(reasoning_output_tokens)",
    "sum(cost_nanousd)",
    "coalesce(sum(requests) FILTER (WHERE cost_nanousd IS NULL), 0)",
)
DAY = "(begin_at AT TIME ZONE 'UTC')::date"
ORDER = "day, tenant_id, feature, user_id, service, environment, model, provider_name"


@dataclass(frozen=True)
class UsageRow:
    """What one combination was billed on one day. `cost_nanousd` None: nothing of it has a price."""

    day: date
    tenant_id: int
    feature: str
    user: str
    service: str
    environment: str
    model: str
    provider: str
    requests: int
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int
    reasoning_output_tokens: int
    cost_nanousd: int | None
    unpriced_requests: int


def usage(cursor: Cursor, scope: Scope, limit: int, after: str = "") -> tuple[list[UsageRow], str]:
    """Rows by day, oldest first, and the mark to go on from ("" at the end). Raises ValueError on a bad mark.

    The filters of the scope that a bill knows are applied.
    """
    given = {name: value for name, value in scope.filters.given.items() if name in DIMENSIONS}
    where = ["tenant_id = ANY(%s)", "begin_at >= %s", "begin_at < %s", *(f"{DIMENSIONS[n]} = %s" for n in given)]
    parameters: list[Any] = [list(scope.tenant_ids), scope.window.start, scope.window.end, *given.values()]
    beyond = ""
    if after:
        beyond = f"WHERE ({ORDER}) > (%s, %s, %s, %s, %s, %s, %s, %s)"
        parameters += _read_mark(after)
    sums = ", ".join(f"{each}::bigint AS s{index}" for index, each in enumerate(SUMS))
    # A bill and its reversal leave nothing to charge: such rows are left out.
    cursor.execute(
        f"SELECT * FROM (SELECT {DAY} AS day, tenant_id, feature, user_id, service, environment, model, "
        f"provider_name, {sums} FROM bill WHERE {' AND '.join(where)} GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 "
        "HAVING sum(requests) <> 0 OR coalesce(sum(cost_nanousd), 0) <> 0) u "
        f"{beyond} ORDER BY {ORDER} LIMIT %s",
        [*parameters, limit + 1],
    )
    rows = [UsageRow(*row) for row in cursor.fetchall()]
    return rows[:limit], _mark(rows[limit - 1]) if len(rows) > limit else ""


def _mark(row: UsageRow) -> str:
    place = [row.day.isoformat(), row.tenant_id, row.feature, row.user, row.service, row.environment, row.model]
    return base64.urlsafe_b64encode(json.dumps([*place, row.provider]).encode()).decode().rstrip("=")


def _read_mark(mark: str) -> Sequence[Any]:
    try:
        place = json.loads(base64.urlsafe_b64decode(mark + "=" * (-len(mark) % 4)))
        day, tenant_id, *texts = place
        if len(texts) == 6 and all(isinstance(text, str) for text in texts):
            return [date.fromisoformat(day), int(tenant_id), *texts]
    except (ValueError, TypeError):
        pass
    raise ValueError("the cursor is none of ours")
