"""The meter of what could not be explained: per library, version, adapter and day, in the writer's transaction.

Only spans that are written now are counted, so a report that comes twice counts once. Keys are bounded, since a sender
can make up any number of names: past MOST_NAMES of a library's day a new one counts as its MORE_UNKNOWN, past MOST_ROWS
of a tenant and day whatever is new counts under OTHERS alone.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import psycopg

from llmobs.core import semconv
from llmobs.core.clock import NS_PER_SECOND, utc_from_ns
from llmobs.ingest.otlp.remarks import MORE_UNKNOWN, UNKNOWN
from llmobs.spans.record import Span

MOST_ROWS = 2000  # of a tenant and day
MOST_NAMES = 200  # unexplained ones of a library, its version and adapter, and day
OTHERS = "(others)"

SPANS, CALLS = "spans", "calls"
NO_USAGE, NO_MODEL, NO_PROVIDER, NO_RESPONSE_ID = "no_usage", "no_model", "no_provider", "no_response_id"
MISSING = (NO_USAGE, NO_MODEL, NO_PROVIDER, NO_RESPONSE_ID)

_OF_A_SPAN, _OF_A_CALL = (SPANS,), (SPANS, CALLS)
_DAY_NS = 86_400 * NS_PER_SECOND
_ANSWERED = (semconv.OK, semconv.DEGRADED)

Key = tuple[int, int, str, str, int, str]  # tenant, day since 1970, scope, its version, adapter, what


@dataclass(slots=True)
class Counted:
    """How often, and the last span that it was counted of."""

    count: int
    trace_id: bytes
    span_id: bytes


Metered = dict[Key, Counted]


def metered(spans: Iterable[Span]) -> Metered:
    """Of the reported spans of a batch."""
    kinds: dict[tuple[Any, ...], Counted] = {}
    for span in spans:
        if span.source == semconv.SOURCE_OTLP:
            _count(span, kinds)
    return _apart(kinds)


def meter(conn: psycopg.Connection[Any], found: Metered) -> None:
    """Add what a batch has, which holds its tenants' locks. Commits nothing itself."""
    if found:
        _write(conn, found)


def missing(span: Span) -> list[str]:
    """What a call that was answered should say and does not. A failed one has neither usage nor id."""
    if not span.is_call:
        return []
    lacks = []
    if span.status in _ANSWERED:
        if span.usage is None:
            lacks.append(NO_USAGE)
        if not span.response_id and span.operation_name != semconv.EMBEDDINGS:  # these have none
            lacks.append(NO_RESPONSE_ID)
    if not span.model:
        lacks.append(NO_MODEL)
    if not span.provider_name:
        lacks.append(NO_PROVIDER)
    return lacks


def _count(span: Span, found: dict[tuple[Any, ...], Counted]) -> None:
    """Spans that are alike in all of this are one number first: a batch has few kinds of them."""
    whats: tuple[str, ...] = _OF_A_CALL if span.is_call else _OF_A_SPAN
    if span.is_call and (lacks := missing(span)):
        whats += tuple(lacks)
    if span.remarks:
        whats += tuple(dict.fromkeys(span.remarks))
    day = span.start_ns // _DAY_NS
    kind = (span.tenant_id, day, span.scope_name, span.scope_version, span.adapter, whats)
    counted = found.get(kind)
    if counted is None:
        found[kind] = Counted(1, span.trace_id, span.span_id)
    else:
        counted.count += 1
        counted.trace_id, counted.span_id = span.trace_id, span.span_id


def _apart(kinds: dict[tuple[Any, ...], Counted]) -> dict[Key, Counted]:
    found: dict[Key, Counted] = {}
    for (*of, whats), counted in kinds.items():
        for what in whats:
            tenant_id, day, scope, version, adapter = of
            key = (tenant_id, day, scope, version, adapter, what)
            before = found.get(key)
            total = counted.count + (before.count if before else 0)
            found[key] = Counted(total, counted.trace_id, counted.span_id)
    return found


def _write(conn: psycopg.Connection[Any], found: dict[Key, Counted]) -> None:
    rows = [(tenant, _day(day), *rest) for tenant, day, *rest in sorted(found)]
    known = _known(conn, sorted({row[:2] for row in rows}))
    written: dict[tuple[Any, ...], Counted] = {}
    for row, key in zip(rows, sorted(found), strict=True):
        row = known[row[:2]].place(row)
        counted = found[key]
        if row in written:
            written[row].count += counted.count
        else:
            written[row] = counted
    columns = zip(
        *((*row, each.count, each.trace_id, each.span_id) for row, each in sorted(written.items())), strict=True
    )
    conn.execute(_UPSERT, [list(column) for column in columns])


@dataclass(slots=True)
class _Day:
    """The rows of a tenant and day, and how many names there are of each library."""

    rows: set[tuple[Any, ...]] = field(default_factory=set)
    names: Counter[tuple[Any, ...]] = field(default_factory=Counter)

    def add(self, row: tuple[Any, ...]) -> None:
        if row not in self.rows:
            self.rows.add(row)
            self.names[row[2:5]] += row[5].startswith(UNKNOWN)

    def place(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """The row to count under: its own, as long as there is room."""
        if row not in self.rows and row[5].startswith(UNKNOWN) and self.names[row[2:5]] >= MOST_NAMES:
            row = (*row[:5], MORE_UNKNOWN)
        if row not in self.rows and len(self.rows) >= MOST_ROWS:
            return (*row[:2], OTHERS, "", 0, row[5] if row[5] in (SPANS, CALLS, *MISSING) else OTHERS)
        self.add(row)
        return row


def _known(conn: psycopg.Connection[Any], days: list[tuple[Any, ...]]) -> dict[tuple[Any, ...], _Day]:
    known: dict[tuple[Any, ...], _Day] = {day: _Day() for day in days}
    for tenant_id, day in days:
        for rest in conn.execute(
            "SELECT scope_name, scope_version, adapter, what FROM conformance WHERE tenant_id = %s AND day = %s",
            (tenant_id, day),
        ):
            known[tenant_id, day].add((tenant_id, day, *rest))
    return known


def _day(number: int) -> date:
    return utc_from_ns(number * _DAY_NS).date()


_UPSERT = """
INSERT INTO conformance AS c (tenant_id, day, scope_name, scope_version, adapter, what, count, trace_id, span_id)
SELECT * FROM unnest(%s::bigint[], %s::date[], %s::text[], %s::text[], %s::smallint[], %s::text[], %s::bigint[],
    %s::bytea[], %s::bytea[])
ON CONFLICT (tenant_id, day, scope_name, scope_version, adapter, what) DO UPDATE SET
    count = c.count + excluded.count, trace_id = excluded.trace_id, span_id = excluded.span_id
"""
