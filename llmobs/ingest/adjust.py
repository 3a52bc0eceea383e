"""Which bills change by a price book, and to what: the tables that previewing, applying and undoing begin with.

Inside a transaction, of one tenant and a stretch of time within a day:
 1. `candidate`: live bills (a call that counts, whose reversal did not come) with all adjustments so far, and what the
    roll-ups must know of the span. What a call costs now is the sum of its bills.
 2. `rate`: the book's prices of these calls, as rows.
 3. `changed`: those whose cost by these is another one. What the book knows no price for stays as it is.
`old` and `new` are nano-USD, 0 where there is no price; `gains` is 1 where a call gets its first price, -1 where it
loses it again.
"""

# ruff: noqa: S608 -- statements are put together of constants, values are bound

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from llmobs.core import semconv
from llmobs.ingest.repricing_reasons import reasons_of
from llmobs.pricing.book import PriceBook
from llmobs.pricing.cost import cost
from llmobs.pricing.price import Price
from llmobs.pricing.repricing import COST_SQL, MOST_SQL_TOKENS, QUARTER, Called, Question, is_for_sql, rate_rows, rated
from llmobs.pricing.stated import stated_version
from llmobs.pricing.usage import stored_usage

Connection = psycopg.Connection[Any]

CLASSES = (
    "uncached_input_tokens", "cache_read_input_tokens", "cache_write_5m_input_tokens", "cache_write_1h_input_tokens",
    "output_tokens", "reasoning_output_tokens",
)  # fmt: skip
_INPUT = " + ".join(f"c.{name}" for name in CLASSES[:4])
_BILLED = "('measured', 'estimated', 'abandoned')"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a question: one tenant, a time within a UTC day."""

    tenant_id: int
    since: datetime
    until: datetime


def find_changed(
    conn: Connection, stretch: Stretch, question: Question, book: PriceBook, priced_as: Mapping[str, str]
) -> list[Price]:
    """Make `changed` by a book; answers the prices that it computed with. The tables go with the transaction."""
    _make_candidates(conn, stretch, question)
    if book.trusted:
        # The provider's own word counts: no rates of ours replace it.
        trusted = (f"{stated_version('')}%", sorted(book.trusted))
        conn.execute("DELETE FROM candidate WHERE version_now LIKE %s AND provider_name = ANY(%s)", trusted)
    prices, is_all_in_sql = _make_rates(conn, stretch, book, priced_as)
    _compute_others(conn, [] if is_all_in_sql else prices)
    conn.execute(
        "CREATE TEMP TABLE changed ON COMMIT DROP AS "
        "SELECT c.*, x.new, x.version_then, CASE WHEN c.is_unpriced THEN 1 ELSE 0 END AS gains "
        "FROM candidate c JOIN ("
        f"SELECT c.bill_id, {COST_SQL} AS new, r.version AS version_then FROM candidate c JOIN rate r ON {_RATE} "
        f"WHERE {_IN_SQL} UNION ALL SELECT bill_id, new, version_then FROM computed) x USING (bill_id) "
        "WHERE c.is_unpriced OR x.new <> c.old"
    )
    conn.execute("ANALYZE changed")
    return prices


def find_to_undo(conn: Connection, stretch: Stretch, repricing_id: int) -> None:
    """Make `changed` of what a re-pricing changed and has not taken back."""
    _make_candidates(conn, stretch, Question(stretch.tenant_id, stretch.since, stretch.until))
    conn.execute(
        "CREATE TEMP TABLE changed ON COMMIT DROP AS "
        "SELECT c.*, CASE WHEN n.unpriced < 0 THEN 0 ELSE c.old - n.cost END AS new, "
        "v.price_version AS version_then, n.unpriced::integer AS gains FROM candidate c JOIN ("
        "SELECT trace_id, span_id, begin_at, COALESCE(sum(cost_nanousd), 0)::bigint AS cost, min(bill_id) AS first, "
        "COALESCE(sum(requests) FILTER (WHERE cost_nanousd IS NULL), 0) AS unpriced FROM bill "
        "WHERE tenant_id = %(tenant_id)s AND begin_at >= %(since)s AND begin_at < %(until)s AND kind = 'adjustment' "
        "AND reason = ANY(%(reasons)s) GROUP BY 1, 2, 3) n USING (trace_id, span_id, begin_at) CROSS JOIN LATERAL ("
        "SELECT price_version FROM bill b WHERE b.tenant_id = %(tenant_id)s AND b.trace_id = c.trace_id "
        "AND b.span_id = c.span_id AND b.begin_at = c.begin_at AND b.kind <> 'reversal' "
        "AND b.bill_id < n.first ORDER BY b.bill_id DESC LIMIT 1) v "
        "WHERE n.cost <> 0 OR n.unpriced <> 0",
        {**_bounds(stretch), "reasons": reasons_of(repricing_id)},
    )
    conn.execute("ANALYZE changed")


def _make_candidates(conn: Connection, stretch: Stretch, question: Question) -> None:
    filters = ""
    if question.providers:
        filters += " AND b.provider_name = ANY(%(providers)s)"
    if question.models:
        filters += " AND b.model = ANY(%(models)s)"
    within = "tenant_id = %(tenant_id)s AND begin_at >= %(since)s AND begin_at < %(until)s"
    conn.execute(
        "CREATE TEMP TABLE candidate ON COMMIT DROP AS "
        "SELECT b.*, s.status, s.error_type, s.is_estimated, s.trace_id IS NOT NULL AS has_span, "
        f"CASE WHEN b.source = {semconv.SOURCE_GATEWAY} THEN '' ELSE COALESCE(s.request_model, '') END AS asked, "
        "(CASE WHEN b.cost_nanousd IS NULL THEN 1 ELSE 0 END) + COALESCE(c.unpriced, 0) > 0 AS is_unpriced, "
        "COALESCE(b.cost_nanousd, 0) + COALESCE(c.cost, 0) AS old, "
        "CASE WHEN c.newest > b.bill_id THEN c.price_version ELSE b.price_version END AS version_now "
        "FROM bill b LEFT JOIN ("
        "SELECT trace_id, span_id, begin_at, max(bill_id) FILTER (WHERE kind = 'reversal') AS reversed, "
        "max(bill_id) FILTER (WHERE kind = 'adjustment') AS newest, "
        "(array_agg(price_version ORDER BY bill_id DESC) FILTER (WHERE kind = 'adjustment'))[1] AS price_version, "
        "sum(cost_nanousd) FILTER (WHERE kind = 'adjustment')::bigint AS cost, "
        "sum(requests) FILTER (WHERE kind = 'adjustment' AND cost_nanousd IS NULL) AS unpriced "
        f"FROM bill WHERE {within} AND kind IN ('reversal', 'adjustment') GROUP BY 1, 2, 3) c "
        "ON c.trace_id = b.trace_id AND c.span_id = b.span_id AND c.begin_at = b.begin_at "
        "LEFT JOIN span s ON s.tenant_id = b.tenant_id AND s.trace_id = b.trace_id AND s.span_id = b.span_id "
        "AND s.start = b.begin_at AND s.start >= %(since)s AND s.start < %(until)s "
        "WHERE b.tenant_id = %(tenant_id)s AND b.begin_at >= %(since)s AND b.begin_at < %(until)s "
        f"AND b.kind IN {_BILLED} AND b.requests = 1 AND b.bill_id > COALESCE(c.reversed, 0){filters}",
        {**_bounds(stretch), "providers": list(question.providers), "models": list(question.models)},
    )
    conn.execute("ANALYZE candidate")


# ---------------------------------------------------------------- prices

_RATE = (
    f"r.is_gateway = (c.source = {semconv.SOURCE_GATEWAY}) AND r.provider_name = c.provider_name "
    "AND r.model = c.model AND r.asked = c.asked AND c.begin_at >= r.since AND c.begin_at < r.until "
    f"AND {_INPUT} > r.above AND {_INPUT} <= r.upto"
)
_IS_PLAIN = f"c.units IS NULL AND c.tier = '' AND {_INPUT} + c.output_tokens <= {MOST_SQL_TOKENS}"
_IN_SQL = f"r.is_for_sql AND {_IS_PLAIN}"


def _make_rates(
    conn: Connection, stretch: Stretch, book: PriceBook, priced_as: Mapping[str, str]
) -> tuple[list[Price], bool]:
    """The rates of the candidates; answers the prices, each at its number, and whether SQL computes them all."""
    rows = conn.execute(
        f"SELECT source = {semconv.SOURCE_GATEWAY}, provider_name, model, asked, "
        f"date_bin(%s, begin_at, timestamptz '2000-01-01 00:00+00'), bool_and({_IS_PLAIN}) FROM candidate c "
        "GROUP BY 1, 2, 3, 4, 5",
        (QUARTER,),
    ).fetchall()
    found = rated(book, stretch.tenant_id, [Called(*row[:5]) for row in rows], priced_as)
    prices: dict[Price, int] = {}
    conn.execute(
        "CREATE TEMP TABLE rate (is_gateway boolean, provider_name text, model text, asked text, since timestamptz, "
        "until timestamptz, above bigint, upto bigint, number integer, version text, is_for_sql boolean, "
        "uncached_input bigint, cache_read bigint, cache_write_5m bigint, cache_write_1h bigint, output bigint) "
        "ON COMMIT DROP"
    )
    with conn.cursor() as cursor, cursor.copy("COPY rate FROM STDIN") as copy:
        for each in found:
            for row in rate_rows(prices.setdefault(each.price, len(prices)), each):
                copy.write_row(row)
    conn.execute("ANALYZE rate")
    return list(prices), all(row[5] for row in rows) and all(is_for_sql(price) for price in prices)


def _compute_others(conn: Connection, prices: list[Price]) -> None:
    """What text tokens alone do not say, and what is too large for SQL. Equal usages are computed once.

    `prices`: none where there is nothing of the kind.
    """
    conn.execute("CREATE TEMP TABLE computed (bill_id bigint, new bigint, version_then text) ON COMMIT DROP")
    if not prices:
        return
    classes = ", ".join(f"c.{name}" for name in CLASSES)
    rows = conn.execute(
        f"SELECT c.bill_id, r.number, c.units, c.tier, {classes} FROM candidate c JOIN rate r ON {_RATE} "
        f"WHERE NOT ({_IN_SQL})"
    ).fetchall()
    known: dict[Any, int | None] = {}
    with conn.cursor() as cursor, cursor.copy("COPY computed FROM STDIN") as copy:
        for bill_id, number, units, tier, *counts in rows:
            key = (number, tier, tuple(sorted((units or {}).items())), *counts)
            if key not in known:
                known[key] = cost(stored_usage(counts, units, tier), prices[number])
            if (nanousd := known[key]) is not None:
                copy.write_row((bill_id, nanousd, prices[number].version))


def _bounds(stretch: Stretch) -> dict[str, Any]:
    return {"tenant_id": stretch.tenant_id, "since": stretch.since, "until": stretch.until}


def providers_priced_as(conn: Connection) -> dict[str, str]:
    """The gateway's providers whose prices are another's: by name, under which one the book has them."""
    return dict(conn.execute("SELECT name, prices_like FROM providers_provider WHERE prices_like <> ''").fetchall())
