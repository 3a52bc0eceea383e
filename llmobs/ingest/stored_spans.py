"""Spans as they are stored, back in our vocabulary: the other direction of `copying.span_row`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg

from llmobs.core.clock import NS_PER_SECOND, ns_from_utc, utc_from_ns
from llmobs.ingest.copying import SPAN_COLUMNS
from llmobs.spans.details import Place, details_at
from llmobs.spans.record import Span, usage_of_row
from llmobs.spans.shown import SOME_SHOWN
from llmobs.tenants.attribution import Attribution

# An adapter may move a span's start (a stream's second span goes back to when the call began), by less than this.
MOST_MOVED = timedelta(days=1)
# Spans of one trace are at most this far apart, where a trace is added up anew.
LONGEST_TRACE = timedelta(days=7)

_COLUMNS = ", ".join(f"s.{name}" for name in SPAN_COLUMNS)

Connection = psycopg.Connection[Any]
Key = tuple[bytes, bytes]  # trace, span


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of `span`."""

    span: Span
    is_counted: bool
    row: dict[str, Any]

    @property
    def place(self) -> tuple[int, int] | None:
        """Block and slot of its content."""
        block_id = self.row["block_id"]
        return None if block_id is None else (block_id, self.row["block_slot"])

    @property
    def detail(self) -> Place | None:
        """Where its detail is; None: in the row."""
        detail_id = self.row["detail_id"]
        return None if detail_id is None else Place(detail_id, _day(self.row["start"]), self.row["detail_slot"])


def load_stored(conn: Connection, tenant_id: int, spans: Sequence[Span]) -> dict[Key, Stored]:
    """The rows of these spans, wherever they began; those that are not stored are left out."""
    if not spans:
        return {}
    starts = [utc_from_ns(span.start_ns) for span in spans]
    rows = conn.execute(
        f"SELECT {_COLUMNS} FROM unnest(%s::bytea[], %s::bytea[], %s::timestamptz[]) AS k (trace_id, span_id, start) "  # noqa: S608
        "JOIN span s ON s.tenant_id = %s AND s.trace_id = k.trace_id AND s.span_id = k.span_id "
        "AND s.start BETWEEN k.start - %s AND k.start + %s WHERE s.start BETWEEN %s AND %s",
        ([s.trace_id for s in spans], [s.span_id for s in spans], starts, tenant_id, MOST_MOVED, MOST_MOVED,
         min(starts) - MOST_MOVED, max(starts) + MOST_MOVED),
    ).fetchall()  # fmt: skip
    found: dict[Key, Stored] = {}
    for stored in _with_details(conn, tenant_id, [_stored(row) for row in rows]):
        found.setdefault((stored.span.trace_id, stored.span.span_id), stored)
    return found


def load_traces(conn: Connection, tenant_id: int, trace_ids: Sequence[bytes], from_ns: int, to_ns: int) -> list[Stored]:
    """All spans of these traces about that time, in order, each with the cost that it is shown with.

    For sums, which ask for no details: only what stands in the rows.
    """
    rows = conn.execute(
        f"SELECT {_COLUMNS}, s.shown_nanousd FROM {SOME_SHOWN} s WHERE s.tenant_id = %s AND s.trace_id = ANY(%s) "  # noqa: S608
        "AND s.start BETWEEN %s AND %s ORDER BY s.trace_id, s.start, s.span_id",
        (tenant_id, list(trace_ids), utc_from_ns(from_ns) - LONGEST_TRACE, utc_from_ns(to_ns) + LONGEST_TRACE),
    ).fetchall()
    found = []
    for *row, shown_nanousd in rows:
        stored = _stored(row)
        stored.span.cost_nanousd = shown_nanousd
        found.append(stored)
    return found


def _with_details(conn: Connection, tenant_id: int, found: list[Stored]) -> list[Stored]:
    """The same, whole: rows as if nothing of them lay elsewhere."""
    places = {id(stored): place for stored in found if (place := stored.detail) is not None}
    details = details_at(conn.cursor(), tenant_id, places.values())
    for stored in found:
        detail = details.get(places[id(stored)]) if id(stored) in places else None
        if detail is not None:
            stored.row.update(detail.values())
            stored.span.attributes, stored.span.scope_name = stored.row["attributes"], detail.scope_name
            stored.span.finish_reasons, stored.span.price_version = detail.finish_reasons, detail.price_version
    return found


def _stored(values: Sequence[Any]) -> Stored:
    row = dict(zip(SPAN_COLUMNS, values, strict=True))
    row["attributes"], row["finish_reasons"] = row["attributes"] or {}, row["finish_reasons"] or []
    row.update({name: row[name] or None for name in _NOTHING})  # rows of before have zeros
    for name in ("trace_id", "span_id", "parent_span_id"):
        row[name] = None if row[name] is None else bytes(row[name])
    usage = None
    if row["input_tokens"] is not None:
        read, creation = row["cache_read_input_tokens"] or 0, row["cache_creation_input_tokens"] or 0
        creation_1h = row["cache_creation_1h_input_tokens"] or 0
        classes = (
            row["input_tokens"] - read - creation, read, creation - creation_1h, creation_1h, row["output_tokens"],
            row["reasoning_output_tokens"] or 0,
        )  # fmt: skip
        usage = usage_of_row(classes, row["attributes"])
    who = Attribution(*(row[n] for n in ("service", "environment", "feature", "user_id", "session_id", "key_id")))
    span = Span(
        **{name: row[name] for name in _SAME},
        start_ns=ns_from_utc(row["start"]),
        finish_reasons=tuple(row["finish_reasons"]),
        attribution=who,
        usage=usage,
        held_nanousd=row["held_nanousd"] or 0,
        attributes=row["attributes"],
        adapter=row["adapter"] or 0,
    )
    return Stored(span, row["is_counted"], row)


# Columns in which nothing is null.
_NOTHING = (
    "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation_1h_input_tokens",
    "reasoning_output_tokens", "held_nanousd",
)  # fmt: skip
# Columns that the record has under the same name and in the same form.
_SAME = (
    "tenant_id", "trace_id", "span_id", "parent_span_id", "duration_ns", "name", "source", "is_call", "is_estimated",
    "is_stream", "operation_name", "status", "error_type", "status_message", "provider_name", "request_model",
    "response_model", "response_id", "cost_nanousd", "price_version", "stated_cost_nanousd", "ttft_ns",
    "prompt_version", "scope_name",
)  # fmt: skip


def _day(start: datetime) -> date:
    return start.astimezone(UTC).date()


def day_of(span: Span) -> int:
    """The UTC day that its content's block is of, in days since 1970."""
    return span.start_ns // (86_400 * NS_PER_SECOND)
