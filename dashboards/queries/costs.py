"""Who spent what, on what."""

# ruff: noqa: S608 - names in the SQL are constants of this package, values are always bound

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from dashboards.queries import billed
from dashboards.queries.rollup import BIN_ORIGIN, Totals, total, totals
from dashboards.queries.scope import Cursor, Scope
from llmobs.pricing.price import TOKENS_PER_RATE, Price
from llmobs.pricing.usage import Usage

# The dimensions that "who spent it" knows; a user's are in the bills and in daily counters, not in the roll-ups.
DIMENSIONS = ("feature", "model", "provider", "user", "key", "environment")
MOST_ROWS = 200
BILL_COLUMNS = {
    "service": "service",
    "environment": "environment",
    "feature": "feature",
    "key": "key_id",
    "provider": "provider_name",
    "model": "model",
    "user": "user_id",
    "session": "session_id",
}
KINDS = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")


@dataclass(frozen=True)
class PaidFor:
    """Tokens of one kind and what they cost. `cost_nanousd` None: priced by no version that is kept."""

    kind: str
    tokens: int
    cost_nanousd: int | None
    reasoning_tokens: int = 0
    saved_nanousd: int = 0  # of cache reads: what they would have cost more as uncached input


@dataclass(frozen=True)
class Unpriced:
    """Calls of a model whose cost is unknown."""

    provider: str
    model: str
    calls: int


def cost_by(cursor: Cursor, scope: Scope, dimension: str) -> list[Totals]:
    """Sums by one of DIMENSIONS, dearest first, at most MOST_ROWS."""
    if dimension == "user" or _needs_bills(scope):
        return _bills_by(cursor, scope, dimension)
    return totals(cursor, scope, (dimension,))[:MOST_ROWS]


def cost_by_bucket(cursor: Cursor, scope: Scope, dimension: str) -> list[Totals]:
    """What they cost in each bucket of the window; no other sums."""
    if dimension == "user" or _needs_bills(scope):
        return []
    return totals(cursor, scope, (dimension,), over_time=True, only=("cost_nanousd",))


def unpriced_models(cursor: Cursor, scope: Scope) -> list[Unpriced]:
    """Models that were called and have no price, most calls first."""
    found = totals(cursor, scope, ("provider", "model"), only=("unpriced_calls",))
    rows = [Unpriced(row.key[0], row.key[1], row.unpriced_calls) for row in found if row.unpriced_calls]
    return sorted(rows, key=lambda row: -row.calls)


def unreported_calls(cursor: Cursor, scope: Scope, unpriced_calls: int) -> int:
    """How many of the calls without a price (`unpriced_calls` of this scope) reported no usage: no bill is theirs.

    No price would give them a cost. 0 where a filter is set that bills, or sums of calls, do not know.
    """
    if not unpriced_calls or not _same_calls(scope):
        return 0
    bills, parameters = _bills(scope, (), is_unpriced=True)
    cursor.execute(f"SELECT coalesce(sum(b.requests), 0)::bigint FROM {bills}", parameters)
    return max(unpriced_calls - int(cursor.fetchone()[0]), 0)


def unbilled_calls(cursor: Cursor, scope: Scope, requests: int) -> int:
    """How many calls of this scope are none of its `requests`: they bear no bill. 0 as above."""
    return max(total(cursor, scope, ("calls",)).calls - requests, 0) if _same_calls(scope) else 0


def _same_calls(scope: Scope) -> bool:
    return not scope.filters.given.keys() & {"user", "session", "search", "status", "error"}


def paid_for(cursor: Cursor, scope: Scope) -> list[PaidFor]:
    """Tokens and money by kind, from each bill's tokens and the rates of its price version.

    What the rates do not explain (long-context tiers, the rounding of each call, adjustments) comes as kind `other`.
    """
    bills, parameters = _bills(scope, ("price_version",))
    sums = ", ".join(f"sum({kind}_tokens)::bigint" for kind in (*_columns(), "reasoning_output"))
    cursor.execute(f"SELECT price_version, sum(cost_nanousd)::bigint, {sums} FROM {bills} GROUP BY 1", parameters)
    rows = cursor.fetchall()
    prices = price_versions(cursor, [row[0] for row in rows])
    tokens = [sum(row[2 + i] for row in rows) for i in range(len(KINDS))]
    costs = [0] * len(KINDS)
    spent = sum(row[1] or 0 for row in rows)
    saved = 0
    for version, cost, *counts in rows:
        if cost is None or version not in prices:
            continue
        rates = prices[version].rates
        for i, kind in enumerate(KINDS):
            costs[i] += counts[i] * getattr(rates, kind) // TOKENS_PER_RATE
        saved += counts[1] * (rates.uncached_input - rates.cache_read) // TOKENS_PER_RATE
    reasoning = sum(row[-1] for row in rows)
    found = [
        PaidFor(kind, tokens[i], costs[i], reasoning if kind == "output" else 0, saved if kind == "cache_read" else 0)
        for i, kind in enumerate(KINDS)
        if tokens[i]
    ]
    rest = spent - sum(costs)
    return [*found, PaidFor("other", 0, rest)] if rest else found


def price_versions(cursor: Cursor, versions: Sequence[str]) -> dict[str, Price]:
    """The price kept under each version that a cost names."""
    cursor.execute("SELECT version, rates FROM price_version WHERE version = ANY(%s)", [list(versions)])
    return {version: msgspec.msgpack.decode(bytes(rates), type=Price) for version, rates in cursor.fetchall()}


def key_names(cursor: Cursor, key_ids: Sequence[int]) -> dict[int, str]:
    """Names of keys by id; 0, a span that no key of ours sent, has none."""
    cursor.execute("SELECT id, name FROM tenants_key WHERE id = ANY(%s)", [list(key_ids)])
    return dict(cursor.fetchall())


def values_of(cursor: Cursor, scope: Scope, dimension: str) -> list[str]:
    """The values that a filter can take in this window, dearest first."""
    unfiltered = Scope(scope.tenant_ids, scope.window)
    return [str(row.key[0]) for row in totals(cursor, unfiltered, (dimension,), only=()) if row.key[0] != ""][
        :MOST_ROWS
    ]


def usage_of(row: Totals) -> Usage:
    """The tokens of a sum in their normal form."""
    return Usage(
        row.uncached_input_tokens,
        row.cache_read_input_tokens,
        row.cache_write_5m_input_tokens,
        row.cache_write_1h_input_tokens,
        row.output_tokens,
        row.reasoning_output_tokens,
    )


def _bills_by(cursor: Cursor, scope: Scope, dimension: str) -> list[Totals]:
    bills, parameters = _bills(scope, (BILL_COLUMNS[dimension], "kind"))
    cursor.execute(
        f"SELECT {BILL_COLUMNS[dimension]}, sum(requests)::bigint, sum(uncached_input_tokens)::bigint, "
        "sum(cache_read_input_tokens)::bigint, sum(cache_write_5m_input_tokens)::bigint, "
        "sum(cache_write_1h_input_tokens)::bigint, sum(output_tokens)::bigint, sum(reasoning_output_tokens)::bigint, "
        "coalesce(sum(cost_nanousd), 0)::bigint, "
        "coalesce(sum(cost_nanousd) FILTER (WHERE kind IN ('estimated', 'abandoned')), 0)::bigint, "
        "coalesce(sum(requests) FILTER (WHERE kind IN ('estimated', 'abandoned')), 0)::bigint, "
        "coalesce(sum(requests) FILTER (WHERE cost_nanousd IS NULL), 0)::bigint "
        f"FROM {bills} GROUP BY 1 ORDER BY 9 DESC, 2 DESC, 1 LIMIT %s",
        [*parameters, MOST_ROWS],
    )
    return [Totals((row[0],), None, row[1], 0, 0, 0, row[1], 0, *row[2:]) for row in cursor.fetchall()]


def cost_of_bills(cursor: Cursor, scope: Scope, bucket: timedelta) -> list[tuple[datetime, int, int]]:
    """(bucket's start, nano-USD, tokens) from the bills themselves: for dimensions that no roll-up has."""
    where, parameters = _bill_filters(scope)
    tokens = " + ".join(f"sum({kind}_tokens)" for kind in _columns())
    cursor.execute(
        "SELECT date_bin(%s, begin_at, %s), coalesce(sum(cost_nanousd), 0)::bigint, "
        f"({tokens})::bigint FROM bill WHERE {where} GROUP BY 1 ORDER BY 1",
        [bucket, BIN_ORIGIN, *parameters],
    )
    return list(cursor.fetchall())


def _needs_bills(scope: Scope) -> bool:
    return scope.filters.user is not None or scope.filters.session is not None


def _bill_filters(scope: Scope) -> tuple[str, list[Any]]:
    given = {name: value for name, value in scope.filters.given.items() if name in BILL_COLUMNS}
    parts = ["tenant_id = ANY(%s)", "begin_at >= %s", "begin_at < %s", *(f"{BILL_COLUMNS[n]} = %s" for n in given)]
    start: datetime = scope.window.start.replace(second=0, microsecond=0)
    return " AND ".join(parts), [list(scope.tenant_ids), start, scope.window.end, *given.values()]


def _bills(scope: Scope, columns: Sequence[str], is_unpriced: bool = False) -> tuple[str, list[Any]]:
    """FROM of the bills in scope, added up where that is by these columns and the filters; and its parameters."""
    given = {BILL_COLUMNS[name]: value for name, value in scope.filters.given.items() if name in BILL_COLUMNS}
    start = scope.window.start.replace(second=0, microsecond=0)
    bills, parameters = billed.rows(
        (*columns, *given), scope.tenant_ids, start, scope.window.end, is_unpriced=is_unpriced
    )
    where = f" WHERE {' AND '.join(f'b.{column} = %s' for column in given)}" if given else ""
    return f"{bills} b{where}", [*parameters, *given.values()]


def _columns() -> list[str]:
    return [kind if kind == "output" else f"{kind}_input" if kind != "uncached_input" else kind for kind in KINDS]
