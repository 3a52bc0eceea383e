"""A sum of money taken apart: the calls that it is made of, by price version and by where their usage comes from.

The sum is computed anew now, from the bills' tokens and the rates kept for each price version: a call costs its tokens
by the version that its newest bill names, rounded up once. What text tokens do not say goes through `pricing.cost`.
"""

# ruff: noqa: S608 - names in the SQL are constants of this package, values are always bound

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from dashboards.queries import billed
from dashboards.queries.costs import price_versions
from dashboards.queries.scope import Cursor
from llmobs.pricing.cost import cost
from llmobs.pricing.price import Price, Rates
from llmobs.pricing.repricing import COST_SQL, MOST_SQL_TOKENS, NO_END, is_for_sql
from llmobs.pricing.stated import is_stated
from llmobs.pricing.usage import stored_usage

MOST_CALLS = 1_000_000  # that are put together of their bills; of more, those alone that were corrected
MOST_CORRECTIONS = 1_000_000
MOST_BILLS = 10_000_000  # that are computed anew unasked; of more when somebody asks for it
ROWS = 50
LATEST_US = 253_402_300_800_000_000  # the year 10000
NEWEST = tuple(timedelta(hours=hours) for hours in (1, 8, 64, 512))  # that the newest bills are looked for in, in turn
CLASSES = (
    "uncached_input_tokens", "cache_read_input_tokens", "cache_write_5m_input_tokens", "cache_write_1h_input_tokens",
    "output_tokens", "reasoning_output_tokens",
)  # fmt: skip
SOURCES = {
    "measured": "reported by the provider",
    "estimated": "counted by us, the provider reported none",
    "abandoned": "held for a call that was abandoned",
}
_INPUT = " + ".join(f"c.{name}" for name in CLASSES[:4])


@dataclass(frozen=True)
class Within:
    """From when to when some tenants' bills are meant, and the columns that they are told apart by."""

    tenant_ids: Sequence[int]
    start: datetime
    end: datetime
    columns: Sequence[str]


@dataclass(frozen=True)
class Which:
    """Bills, as a condition over `bill b` with its parameters; `within` is known of those of a window."""

    condition: str
    parameters: Sequence[Any]
    within: Within | None = None


@dataclass
class Part:
    """Calls of one price version, with inputs longer than `above` where its rates differ by length.

    `is_apart`: some were computed by units or a tier. `recomputed_nanousd` None: the version's rates are not kept.
    """

    version: str
    price: Price | None
    above: int = -1
    is_apart: bool = False
    calls: int = 0
    tokens: list[int] = field(default_factory=lambda: [0] * len(CLASSES))
    billed_nanousd: int = 0
    recomputed_nanousd: int | None = None

    @property
    def lines(self) -> list[tuple[str, int, int]]:
        """(class, tokens, nano-USD per million), where one line of rates tells it all."""
        if self.price is None or self.is_apart:
            return []
        rates = self.price.rates_for(self.above + 1)
        each = (rates.uncached_input, rates.cache_read, rates.cache_write_5m, rates.cache_write_1h, rates.output)
        return [(name, n, rate) for name, n, rate in zip(CLASSES, self.tokens, each, strict=False) if n]


@dataclass(frozen=True)
class Sourced:
    """Calls whose usage is known in one way."""

    kind: str
    calls: int
    nanousd: int

    @property
    def words(self) -> str:
        return SOURCES.get(self.kind, self.kind)


@dataclass(frozen=True)
class Corrected:
    """What reversals and adjustments of one reason came to."""

    kind: str
    reason: str
    bills: int
    nanousd: int


@dataclass(frozen=True)
class BillRow:
    """A bill as a row, with the way to its trace."""

    bill_id: int
    tenant_id: int
    trace_id: str
    span_id: str
    begin_at: datetime
    kind: str
    reason: str
    requests: int
    provider_name: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_nanousd: int | None
    price_version: str


@dataclass(frozen=True)
class Explained:
    """A sum taken apart. `recomputed_nanousd` None: more calls than are computed at once, or a version is not kept."""

    billed_nanousd: int
    recomputed_nanousd: int | None
    calls: int
    unpriced_calls: int
    parts: list[Part]
    sources: list[Sourced]
    corrections: list[Corrected]
    held_nanousd: int = 0  # by calls without a price: what budgets count for them


_CALLS = f"""
SELECT tenant_id, trace_id, span_id, begin_at, sum(requests)::bigint AS requests,
    COALESCE(sum(requests) FILTER (WHERE cost_nanousd IS NULL), 0)::bigint AS unpriced,
    COALESCE(sum(cost_nanousd), 0)::bigint AS cost_nanousd,
    (array_agg(price_version ORDER BY bill_id DESC) FILTER (WHERE kind <> 'reversal'))[1] AS version,
    (array_agg(kind ORDER BY bill_id DESC) FILTER (WHERE kind IN ('measured', 'estimated', 'abandoned')))[1] AS kind,
    (array_agg(units) FILTER (WHERE units IS NOT NULL AND requests > 0))[1] AS units, max(tier) AS tier,
    {", ".join(f"sum({name})::bigint AS {name}" for name in CLASSES)}
FROM bill b WHERE %s GROUP BY tenant_id, trace_id, span_id, begin_at
HAVING sum(requests) <> 0 OR sum(cost_nanousd) <> 0
"""
# The same where there are very many: a call without correction is its one bill, and needs no putting together.
_MANY_CALLS = f"""
WITH corrected AS MATERIALIZED (
    SELECT DISTINCT tenant_id, trace_id, span_id, begin_at FROM bill b WHERE %s AND kind NOT IN {tuple(SOURCES)}
)
SELECT tenant_id, trace_id, span_id, begin_at, requests::bigint, CASE WHEN cost_nanousd IS NULL THEN requests ELSE 0 END
        AS unpriced, COALESCE(cost_nanousd, 0)::bigint AS cost_nanousd, price_version AS version, kind, units, tier,
    {", ".join(f"{name}::bigint AS {name}" for name in CLASSES)}
FROM bill b WHERE %s AND (requests <> 0 OR cost_nanousd <> 0) AND NOT EXISTS (
    SELECT 1 FROM corrected x
    WHERE (x.tenant_id, x.trace_id, x.span_id, x.begin_at) = (b.tenant_id, b.trace_id, b.span_id, b.begin_at))
UNION ALL ({_CALLS.replace("b WHERE %s", "b JOIN corrected USING (tenant_id, trace_id, span_id, begin_at) WHERE %s")})
"""


def explain(cursor: Cursor, which: Which, is_whole: bool = False) -> Explained:
    """Take the bills' sum apart, and compute it anew: `is_whole`, however many they are.

    That takes PostgreSQL time alone: a call at a time, it keeps no more than a sum for each version and length.
    """
    within = which.within
    if not is_whole and within is not None and billed.is_small(within.columns):
        # Of more than are computed anew nothing is asked that takes a look at each: sums come out of what is added up.
        columns = ("price_version", "kind", *within.columns)
        source, values = billed.rows(columns, within.tenant_ids, within.start, within.end)
        added = _sums(cursor, which, source, values)
        if added[1] > MOST_BILLS:
            billed_nanousd, calls, unpriced, held, _ = added
            corrections = _corrections(cursor, which) if _is_corrected(cursor, which, source, values) else []
            return Explained(billed_nanousd, None, calls, unpriced, [], [], corrections, held)
    billed_nanousd, calls, unpriced, held, versions = _sums(cursor, which)
    prices = price_versions(cursor, [version for version in versions if version])
    corrections = _corrections(cursor, which)
    is_many = calls > MOST_CALLS
    corrected = sum(each.bills for each in corrections)
    if not is_whole and (calls > MOST_BILLS or (is_many and corrected > MOST_CORRECTIONS)):
        return Explained(billed_nanousd, None, calls, unpriced, [], [], corrections, held)
    parts, sources = _parts(cursor, which, prices, is_many)
    known = [part.recomputed_nanousd for part in parts]
    recomputed = None if None in known else sum(each or 0 for each in known)
    return Explained(billed_nanousd, recomputed, calls, unpriced, parts, sources, corrections, held)


def _sums(cursor: Cursor, which: Which, source: str = "bill", values: Sequence[Any] = ()) -> Any:
    """(nano-USD, requests, those without a price, what these held, price versions)."""
    # By version, and not as an array of distinct ones: for that all bills would be put in order.
    cursor.execute(
        "SELECT price_version, COALESCE(sum(cost_nanousd), 0)::bigint, COALESCE(sum(requests), 0)::bigint, "
        "COALESCE(sum(requests) FILTER (WHERE cost_nanousd IS NULL), 0)::bigint, "
        "COALESCE(sum(held_nanousd) FILTER (WHERE cost_nanousd IS NULL), 0)::bigint "
        f"FROM {source} b WHERE {which.condition} GROUP BY price_version",
        [*values, *which.parameters],
    )
    versions, *sums = list(zip(*cursor.fetchall(), strict=True)) or [()] * 5
    return (*(sum(each) for each in sums), versions)


def _is_corrected(cursor: Cursor, which: Which, source: str, values: Sequence[Any]) -> bool:
    cursor.execute(
        f"SELECT EXISTS (SELECT FROM {source} b WHERE {which.condition} AND kind IN ('reversal', 'adjustment'))",
        [*values, *which.parameters],
    )
    return bool(cursor.fetchone()[0])


def _parts(
    cursor: Cursor, which: Which, prices: Mapping[str, Price], is_many: bool
) -> tuple[list[Part], list[Sourced]]:
    made = (_MANY_CALLS if is_many else _CALLS).replace("%s", which.condition)
    rates = [row for version, price in prices.items() for row in _rates(version, price)]
    in_sql = f"r.version IS NOT NULL AND c.units IS NULL AND c.tier = '' AND {_INPUT} + c.output_tokens "
    in_sql += f"BETWEEN 0 AND {MOST_SQL_TOKENS}"
    sums = ", ".join(f"sum(c.{name})::bigint" for name in CLASSES)
    columns = list(zip(*rates, strict=True)) or [()] * 8
    # What SQL does not compute comes by its usage, each to be computed once.
    apart = f"CASE WHEN {in_sql} THEN NULL ELSE jsonb_build_array(c.units, c.tier, " + (
        ", ".join(f"c.{name}" for name in CLASSES) + ") END"
    )
    cursor.execute(
        f"WITH c AS ({made}), r AS (SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], "
        "%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) AS r (version, above, upto, "
        "uncached_input, cache_read, cache_write_5m, cache_write_1h, output)) "
        f"SELECT c.version, c.kind, {apart}, c.unpriced <> 0, CASE WHEN {in_sql} THEN r.above END, "
        "sum(c.requests)::bigint, sum(c.cost_nanousd)::bigint, "
        f"sum(CASE WHEN {in_sql} THEN {COST_SQL} END)::bigint, {sums} "
        f"FROM c LEFT JOIN r ON r.version = c.version AND {_INPUT} > r.above AND {_INPUT} <= r.upto "
        "GROUP BY 1, 2, 3, 4, 5",
        [*(list(which.parameters) * (3 if is_many else 1)), *(list(column) for column in columns)],
    )
    parts: dict[tuple[str, int | None], Part] = {}
    sources: dict[str, list[int]] = {}
    for version, kind, apart_usage, is_unpriced, above, calls, charged, computed, *tokens in cursor.fetchall():
        name = "" if is_unpriced else version
        new = Part(name, prices.get(name), -1 if above is None else above, above is None, recomputed_nanousd=0)
        part = parts.setdefault((name, above), new)
        part.calls += calls
        part.tokens = [a + b for a, b in zip(part.tokens, tokens, strict=True)]
        part.billed_nanousd += charged
        if is_unpriced:
            due: int | None = 0
        elif is_stated(name):
            due = charged
        else:
            due = computed if apart_usage is None else _apart(apart_usage, part.price, calls)
        known = part.recomputed_nanousd
        part.recomputed_nanousd = None if due is None or known is None else known + due
        sums_of = sources.setdefault(kind, [0, 0])
        sums_of[0], sums_of[1] = sums_of[0] + calls, sums_of[1] + charged
    ordered = sorted(parts.values(), key=lambda part: (-part.billed_nanousd, part.version))
    return ordered, [Sourced(kind, *sums_of) for kind, sums_of in sorted(sources.items())]


def _apart(usage: Any, price: Price | None, calls: int) -> int | None:
    if price is None:
        return None
    units, tier, *classes = msgspec.json.decode(usage) if isinstance(usage, str) else usage
    each = cost(stored_usage(classes, units, tier), price)
    return None if each is None else each * calls


def _rates(version: str, price: Price) -> list[tuple[Any, ...]]:
    if not is_for_sql(price):
        return []
    above = [-1, *(tier.above_input_tokens for tier in price.tiers)]
    return [
        (version, start, end, *_amounts(price.rates_for(start + 1)))
        for start, end in zip(above, [*above[1:], NO_END], strict=True)
    ]


def _amounts(rates: Rates) -> tuple[int, ...]:
    return (rates.uncached_input, rates.cache_read, rates.cache_write_5m, rates.cache_write_1h, rates.output)


def _corrections(cursor: Cursor, which: Which) -> list[Corrected]:
    cursor.execute(
        "SELECT kind, reason, count(*), COALESCE(sum(cost_nanousd), 0)::bigint FROM bill b "
        f"WHERE {which.condition} AND kind IN ('reversal', 'adjustment') GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 50",
        which.parameters,
    )
    return [Corrected(*row) for row in cursor.fetchall()]


def rows(cursor: Cursor, which: Which, after: str = "", limit: int = ROWS) -> tuple[list[BillRow], str]:
    """Bills, newest first, and the mark to continue from ("" : these were the last). Raises ValueError."""
    condition, parameters = which.condition, list(which.parameters)
    until = which.within.end if which.within else None
    if after:
        at, bill_id = map(int, after.split("."))
        if not 0 <= at < LATEST_US:
            raise ValueError("no bill is of such a time")
        condition += " AND (b.begin_at, b.bill_id) < (timestamptz 'epoch' + %s * interval '1 microsecond', %s)"
        parameters += [at, bill_id]
        until = min(until, datetime.fromtimestamp(0, UTC) + timedelta(microseconds=at)) if until else None
    found: list[Any] = []
    # Of a month the newest are found in its last hours: put in order all would take far longer.
    for back in (*(NEWEST if until else ()), None):
        since, values = (" AND b.begin_at >= %s", [until - back]) if until and back else ("", [])
        cursor.execute(
            "SELECT bill_id, tenant_id, trace_id, span_id, begin_at, kind, reason, requests, provider_name, model, "
            "uncached_input_tokens + cache_read_input_tokens + cache_write_5m_input_tokens "
            "+ cache_write_1h_input_tokens, output_tokens, cost_nanousd, price_version, "
            "(extract(epoch FROM begin_at) * 1000000)::bigint FROM bill b "
            f"WHERE {condition}{since} ORDER BY b.begin_at DESC, b.bill_id DESC LIMIT %s",
            [*parameters, *values, limit + 1],
        )
        found = cursor.fetchall()
        if len(found) > limit:
            break
    shown = [
        BillRow(bill_id, tenant_id, bytes(trace_id).hex(), bytes(span_id).hex(), *rest[:-1])
        for bill_id, tenant_id, trace_id, span_id, *rest in found[:limit]
    ]
    mark = f"{found[limit - 1][-1]}.{found[limit - 1][0]}" if len(found) > limit else ""
    return shown, mark
