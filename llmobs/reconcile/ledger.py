"""Our side: bills of some providers by hour, model, tier and class, and what each class cost by its price version.

1. Bills are summed by what makes their rates: version, tier, and how many of the versions' lengths they passed.
2. Each sum's classes are priced by the rates of their version (`pricing.price`); a bill that was re-priced, by those
   of its last adjustment. The classes of a call add up to its bill but for the rounding, which is kept apart.
3. What has no price keeps its tokens and costs nothing: it is told as such, never as zero.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

import psycopg

from llmobs.pricing.price import REASONING, REQUESTS, TOKENS_PER_RATE, Price
from llmobs.pricing.usage import Usage, stored_usage
from llmobs.pricing.versions import rates_by_version
from llmobs.reconcile import rows
from llmobs.reconcile.amounts import Books, Group, Hour, Key, Ours

Connection = psycopg.Connection[Any]

_CLASSES = (
    "uncached_input_tokens", "cache_read_input_tokens", "cache_write_5m_input_tokens", "cache_write_1h_input_tokens",
    "output_tokens", "reasoning_output_tokens",
)  # fmt: skip
_INPUT = " + ".join(f"b.{name}" for name in _CLASSES[:4])
_NEVER = 2**62  # no call is so long: a list of lengths is never empty
_PLAIN = {
    "uncached_input": rows.UNCACHED,
    "cache_read": rows.CACHE_READ,
    "cache_write_5m": rows.WRITE_5M,
    "cache_write_1h": rows.WRITE_1H,
    "output": rows.OUTPUT,
    REASONING: rows.OUTPUT,
}


class _Kind(NamedTuple):
    """What bills of one sum have in common."""

    day: date
    hour: int
    provider: str
    model: str
    version: str
    tier: str
    length: int  # how many of the lengths it passed
    is_unpriced: bool


@dataclass(slots=True)
class Sum:
    """Bills of one kind."""

    kind: _Kind
    calls: int
    estimated: int
    usage: Usage
    cost_nanousd: int


@dataclass(frozen=True)
class Bills:
    """The bills of a period: sums, prices by version, lengths of context at which rates change, whose they are."""

    sums: list[Sum]
    prices: Mapping[str, Price]
    lengths: Sequence[int]
    tenant_ids: list[int]


def read_bills(conn: Connection, providers: Sequence[str], since: datetime, until: datetime) -> Bills:
    """All tenants' bills of these providers, from `since` on, before `until`."""
    window = (list(providers), since, until)
    where = "b.provider_name = ANY(%s) AND b.begin_at >= %s AND b.begin_at < %s"
    versions = conn.execute(f"SELECT DISTINCT price_version FROM bill b WHERE {where}", window).fetchall()  # noqa: S608
    prices = rates_by_version(conn, [version for (version,) in versions])
    lengths = sorted({tier.above_input_tokens + 1 for price in prices.values() for tier in _tiers(price)}) or [_NEVER]
    tenants = conn.execute(f"SELECT DISTINCT tenant_id FROM bill b WHERE {where}", window).fetchall()  # noqa: S608
    found = {kind: Sum(kind, *rest) for kind, *rest in _sums(conn, where, window, lengths)}
    for kind, units in _units(conn, where, window, lengths):
        found[kind].usage = stored_usage(_stored(found[kind].usage), units, kind.tier)
    return Bills(list(found.values()), prices, lengths, sorted(tenant_id for (tenant_id,) in tenants))


def fill(books: Books, bills: Bills, model_names: Mapping[str, str], folded: Mapping[tuple[str, str], str]) -> None:
    """Our side of the books. `folded`: classes that the provider counts as another, by (model, class)."""
    for each in bills.sums:
        kind = each.kind
        model = model_names.get(kind.model, kind.model)
        group = Group(kind.day, model, kind.tier)
        calls = books.calls[group]
        calls.count += each.calls
        calls.estimated += each.estimated
        calls.round_up += each.cost_nanousd
        by_tier = books.hour_calls[Hour(model, kind.day, kind.hour)]
        by_tier[kind.tier] = by_tier.get(kind.tier, 0) + each.calls
        price = bills.prices.get(kind.version)
        at_tier = price.at_tier(kind.tier) if price is not None else None
        rates = _rates(at_tier, _long(bills.lengths, kind.length)) if at_tier is not None else {}
        for name, count in _counts(each.usage, each.calls, REQUESTS in rates):
            cost = Fraction(0) if kind.is_unpriced else Fraction(count * rates.get(name, 0), TOKENS_PER_RATE)
            calls.round_up -= cost
            token_class = folded.get((model, name), _PLAIN.get(name, name))
            whose = "" if token_class in rows.TOOLS else model
            key = Key(kind.day, whose, "" if not whose else kind.tier, token_class)
            priced = 0 if kind.is_unpriced else count
            books.ours[key].add(count, priced, cost)
            if whose:
                hour = books.hours[Hour(whose, kind.day, kind.hour)]
                hour.setdefault((kind.tier, token_class), Ours()).add(count, priced, cost)
        for name, rate in rates.items():
            token_class = _PLAIN.get(name, name)
            if name != REASONING:
                books.rates.setdefault(Key(kind.day, model, kind.tier, token_class), Fraction(rate, TOKENS_PER_RATE))


def _counts(usage: Usage, calls: int, is_priced_by_request: bool) -> Iterable[tuple[str, int]]:
    """Each class and unit that there is some of; reasoning is within output."""
    counts = [
        ("uncached_input", usage.uncached_input),
        ("cache_read", usage.cache_read),
        ("cache_write_5m", usage.cache_write_5m),
        ("cache_write_1h", usage.cache_write_1h),
        ("output", usage.output - usage.reasoning),
        (REASONING, usage.reasoning),
        *(unit for unit in usage.units if unit[0] != REQUESTS),
    ]
    if is_priced_by_request:
        counts.append((REQUESTS, calls))
    return [(name, count) for name, count in counts if count]


def _rates(price: Price, length: int) -> dict[str, int]:
    plain, units = price.rates_for(length), price.units_for(length)
    found = {
        "uncached_input": plain.uncached_input,
        "cache_read": plain.cache_read,
        "cache_write_5m": plain.cache_write_5m,
        "cache_write_1h": plain.cache_write_1h,
        "output": plain.output,
        REASONING: units.get(REASONING, plain.output),
    }
    return {**{unit: rate for unit, rate in units.items() if unit != REASONING}, **found}


def _tiers(price: Price) -> Iterable[Any]:
    return [*price.tiers, *(tier for at_tier in price.at_tiers for tier in at_tier.tiers)]


def _long(lengths: Sequence[int], passed: int) -> int:
    """A length of input that has passed so many of the lengths."""
    return lengths[passed - 1] if passed else 0


_KIND = (
    "(b.begin_at AT TIME ZONE 'UTC')::date, extract(hour FROM b.begin_at AT TIME ZONE 'UTC')::int, b.provider_name, "
    "b.model, COALESCE(a.price_version, b.price_version), b.tier, "
    f"width_bucket(abs({_INPUT}), %s::bigint[]), b.cost_nanousd IS NULL"
)
# The version of a call's last adjustment that changed its price alone; what such an adjustment adds is in its cost.
_ADJUSTED = (
    "LEFT JOIN (SELECT DISTINCT ON (tenant_id, trace_id, span_id) tenant_id, trace_id, span_id, price_version "
    "FROM bill b WHERE {where} AND kind = 'adjustment' AND requests = 0 "
    "ORDER BY tenant_id, trace_id, span_id, bill_id DESC) a USING (tenant_id, trace_id, span_id)"
)


def _sums(conn: Connection, where: str, window: tuple[Any, ...], lengths: list[int]) -> Iterable[tuple[Any, ...]]:
    usage = ", ".join(f"sum(b.{name})::bigint" for name in _CLASSES)
    found = conn.execute(
        f"SELECT {_KIND}, sum(b.requests)::bigint, "  # noqa: S608
        "COALESCE(sum(b.requests) FILTER (WHERE b.kind IN ('estimated', 'abandoned')), 0)::bigint, "
        f"COALESCE(sum(b.cost_nanousd), 0)::bigint, {usage} "
        f"FROM bill b {_ADJUSTED.format(where=where)} WHERE {where} GROUP BY 1, 2, 3, 4, 5, 6, 7, 8",
        (lengths, *window, *window),
    ).fetchall()
    for *kind, calls, estimated, cost, uncached, read, write_5m, write_1h, output, reasoning in found:
        named = _Kind(*kind)
        usage_of = Usage(uncached, read, write_5m, write_1h, output, reasoning, (), named.tier)
        yield named, calls, estimated, usage_of, cost


def _units(conn: Connection, where: str, window: tuple[Any, ...], lengths: list[int]) -> Iterable[tuple[_Kind, Any]]:
    """Counts besides text tokens; few bills have any."""
    found: dict[_Kind, dict[str, int]] = {}
    rows_found = conn.execute(
        f"SELECT {_KIND}, u.key, sum(u.value::bigint)::bigint "  # noqa: S608
        f"FROM bill b {_ADJUSTED.format(where=where)} CROSS JOIN LATERAL jsonb_each_text(b.units) u "
        f"WHERE {where} AND b.units IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9",
        (lengths, *window, *window),
    ).fetchall()
    for *kind, unit, count in rows_found:
        found.setdefault(_Kind(*kind), {})[unit] = count
    return found.items()


def _stored(usage: Usage) -> tuple[int, ...]:
    return (
        usage.uncached_input, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h, usage.output,
        usage.reasoning,
    )  # fmt: skip


def window_of(first_day: date, after: date) -> tuple[datetime, datetime]:
    """The bills that may be told of these days: a day more on either side, for time zones."""
    start = datetime(first_day.year, first_day.month, first_day.day, tzinfo=UTC) - timedelta(days=1)
    end = datetime(after.year, after.month, after.day, tzinfo=UTC) + timedelta(days=1)
    return start, end
