"""Which usage has no price: from the bills, by tenant, provider and model. What it might cost is not guessed."""

# ruff: noqa: S608 - names in the SQL are constants of this module, values are always bound

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dashboards.queries import billed
from dashboards.queries.scope import Cursor

MOST_ROWS = 500
MOST_NAMED = 5  # users and features of a row, those with the most requests


@dataclass(frozen=True)
class UnpricedRow:
    """Requests of one model that have no price. What was priced since, or counted elsewhere, is not in it.

    `first_at`, `last_at`: of all that came in an hour (of a day that is over: the day) in which some are left.
    """

    tenant_id: int
    provider: str
    model: str
    requests: int
    input_tokens: int
    output_tokens: int
    first_at: datetime
    last_at: datetime
    users: list[str]
    features: list[str]


def _largest(name: str, found: str) -> str:
    return (
        f"ARRAY(SELECT w.{name} FROM {found} w WHERE (w.tenant_id, w.provider_name, w.model) = "
        f"(f.tenant_id, f.provider_name, f.model) AND w.{name} <> '' GROUP BY 1 HAVING sum(w.requests) > 0 "
        f"ORDER BY sum(w.requests) DESC, 1 LIMIT {MOST_NAMED})"
    )


def unpriced(
    cursor: Cursor, tenant_ids: Sequence[int], start: datetime, end: datetime, limit: int = MOST_ROWS
) -> list[UnpricedRow]:
    """Most requests first. A bill without cost and what takes it back add up to nothing."""
    of = ("provider_name", "model")
    bills, parameters = billed.rows((*of, "feature"), tenant_ids, start, end, is_unpriced=True)
    of_users, user_parameters = billed.rows((*of, "user_id"), tenant_ids, start, end, is_unpriced=True)
    cursor.execute(
        "WITH found AS MATERIALIZED (SELECT tenant_id, provider_name, model, feature, "
        "sum(requests) AS requests, min(first_at) AS first_at, max(last_at) AS last_at, "
        "sum(uncached_input_tokens + cache_read_input_tokens + cache_write_5m_input_tokens "
        f"+ cache_write_1h_input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens FROM {bills} b "
        "WHERE cost_nanousd IS NULL "
        "GROUP BY 1, 2, 3, 4, date_trunc('hour', begin_at)), "
        "users AS MATERIALIZED (SELECT tenant_id, provider_name, model, user_id, sum(requests) AS requests "
        f"FROM {of_users} b WHERE cost_nanousd IS NULL GROUP BY 1, 2, 3, 4 HAVING sum(requests) <> 0) "
        "SELECT f.tenant_id, f.provider_name, f.model, sum(f.requests)::bigint, sum(f.input_tokens)::bigint, "
        "sum(f.output_tokens)::bigint, min(f.first_at) FILTER (WHERE f.requests <> 0), "
        "max(f.last_at) FILTER (WHERE f.requests <> 0), "
        f"{_largest('user_id', 'users')}, {_largest('feature', 'found')} "
        "FROM found f GROUP BY 1, 2, 3 HAVING sum(f.requests) > 0 ORDER BY 4 DESC, 1, 2, 3 LIMIT %s",
        [*parameters, *user_parameters, limit],
    )
    return [UnpricedRow(*row) for row in cursor.fetchall()]
