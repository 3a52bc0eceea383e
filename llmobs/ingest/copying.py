"""Rows into tables by binary COPY, the fastest way in: spans, claims, bills, and blocks of contents and details.

A row has its times as nanoseconds since 1970 and its JSON encoded. Packed by the compiled module where it is built;
psycopg packs the same otherwise.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from itertools import islice
from typing import Any

import msgspec
import psycopg
from psycopg import postgres
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.types.json import Jsonb

from llmobs.core.clock import utc_from_ns
from llmobs.ingest import compiled
from llmobs.ingest.count_once import ClaimInfo
from llmobs.spans.bill import Bill
from llmobs.spans.record import Span, stored_attributes, stored_units

Connection = psycopg.Connection[Any]

SPAN = {
    "tenant_id": "int8", "trace_id": "bytea", "span_id": "bytea", "parent_span_id": "bytea", "start": "timestamptz",
    "duration_ns": "int8", "name": "text", "source": "int2", "is_call": "bool", "is_counted": "bool",
    "is_estimated": "bool", "is_stream": "bool", "operation_name": "text", "status": "text", "error_type": "text",
    "status_message": "text", "provider_name": "text", "request_model": "text", "response_model": "text",
    "response_id": "text", "finish_reasons": "text[]", "input_tokens": "int8", "output_tokens": "int8",
    "cache_read_input_tokens": "int8", "cache_creation_input_tokens": "int8",
    "cache_creation_1h_input_tokens": "int8", "reasoning_output_tokens": "int8", "cost_nanousd": "int8",
    "price_version": "text", "stated_cost_nanousd": "int8", "held_nanousd": "int8", "ttft_ns": "int8",
    "service": "text", "environment": "text", "feature": "text", "user_id": "text", "session_id": "text",
    "key_id": "int8", "prompt_version": "text", "scope_name": "text", "preview": "text", "block_id": "int8",
    "block_slot": "int2", "attributes": "jsonb", "adapter": "int2", "detail_id": "int8", "detail_slot": "int2",
}  # fmt: skip

SPAN_COLUMNS = tuple(SPAN)  # in the order of `span_row`

CLAIM = {
    "tenant_id": "int8", "trace_id": "bytea", "span_id": "bytea", "parent_span_id": "bytea", "start": "timestamptz",
    "finish": "timestamptz", "source": "int2", "scope_name": "text", "yields": "bool", "response_id": "text",
    "input_tokens": "int8", "output_tokens": "int8", "is_counted": "bool", "bill_id": "int8",
}  # fmt: skip

BILL = {
    "tenant_id": "int8", "bill_id": "int8", "begin_at": "timestamptz", "trace_id": "bytea", "span_id": "bytea",
    "kind": "text", "reason": "text", "source": "int2", "requests": "int2", "provider_name": "text", "model": "text",
    "response_id": "text", "uncached_input_tokens": "int8", "cache_read_input_tokens": "int8",
    "cache_write_5m_input_tokens": "int8", "cache_write_1h_input_tokens": "int8", "output_tokens": "int8",
    "reasoning_output_tokens": "int8", "cost_nanousd": "int8", "price_version": "text", "held_nanousd": "int8",
    "budgets": "text", "service": "text", "environment": "text", "feature": "text", "user_id": "text",
    "session_id": "text", "key_id": "int8", "units": "jsonb", "tier": "text",
    "prompt_version": "text",
}  # fmt: skip

_BLOCK = {"tenant_id": "int8", "block_id": "int8", "day": "date", "body": "bytea"}
_DETAIL_BLOCK = {"tenant_id": "int8", "detail_id": "int8", "day": "date", "body": "bytea"}

Row = tuple[Any, ...]

_compiled = compiled.loaded()
_KINDS = {
    "int8": "q", "int2": "h", "bool": "?", "text": "t", "bytea": "b", "timestamptz": "T", "jsonb": "J",
    "text[]": "A",
}  # fmt: skip
# Packed at once: PostgreSQL reads some while the next are packed.
ROWS_AT_ONCE = 250
_HEAD, _TAIL = b"PGCOPY\n\xff\r\n\x00" + bytes(8), b"\xff\xff"


class Packed(list[bytes]):
    """Rows as COPY takes them."""


Rows = Iterable[Row] | Packed


def copy_spans(conn: Connection, rows: Rows) -> None:
    """Rows of `span_row`. Raises psycopg.errors.UniqueViolation if one is there already."""
    _copy(conn, "span", SPAN, rows)


def copy_claims(conn: Connection, rows: Rows) -> None:
    """Rows of `claim_row`."""
    _copy(conn, "claim", CLAIM, rows)


def copy_bills(conn: Connection, rows: Rows) -> None:
    """Rows of `bill_row`."""
    _copy(conn, "bill", BILL, rows)


def copy_blocks(conn: Connection, rows: Iterable[tuple[int, int, date, bytes]]) -> None:
    """(tenant, block, day, body)."""
    with conn.cursor() as cur:
        _copy_by_psycopg(cur, _statement("payload_block", _BLOCK), _BLOCK, rows)


def copy_details(conn: Connection, rows: Iterable[tuple[int, int, date, bytes]]) -> None:
    """(tenant, block, day, body)."""
    with conn.cursor() as cur:
        _copy_by_psycopg(cur, _statement("detail_block", _DETAIL_BLOCK), _DETAIL_BLOCK, rows)


class _TextArray(Dumper):
    """A flat list of texts, most often empty, as text[]."""

    format = Format.BINARY
    oid = postgres.types["text"].array_oid

    def dump(self, obj: list[str]) -> bytes:
        if not obj:
            return _NO_ITEMS + _TEXT_OID
        items = [struct.pack(">ii4siI", 1, 0, _TEXT_OID, len(obj), 1)]
        for text in obj:
            encoded = str.encode(text)  # TypeError for what is none
            items += (struct.pack(">i", len(encoded)), encoded)
        return b"".join(items)


# The head of an array in PostgreSQL's binary format: dimensions, flag of nulls, the items' type, then each dimension.
_NO_ITEMS = struct.pack(">ii", 0, 0)
_TEXT_OID = struct.pack(">I", postgres.types["text"].oid)


def _copy(conn: Connection, table: str, columns: dict[str, str], rows: Rows) -> None:
    with conn.cursor() as cur:
        if isinstance(rows, Packed) or _compiled is not None:
            chunks = rows if isinstance(rows, Packed) else _chunks(kinds_of(columns), rows)
            _copy_packed(cur, _statement(table, columns), chunks)
            return
        cur.adapters.register_dumper(None, _TextArray)
        _copy_by_psycopg(cur, _statement(table, columns), columns, map(_adapter(columns), rows))


def _statement(table: str, columns: dict[str, str]) -> str:
    return f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"


def kinds_of(columns: dict[str, str]) -> bytes:
    """What the compiled module packs each as."""
    return "".join(_KINDS[kind] for kind in columns.values()).encode()


def _chunks(kinds: bytes, rows: Iterable[Row]) -> Iterator[bytes]:
    assert _compiled is not None
    rest = iter(rows)
    while some := list(islice(rest, ROWS_AT_ONCE)):
        yield _compiled.packed(kinds, some)


def _copy_packed(cur: psycopg.Cursor[Any], statement: str, chunks: Iterable[bytes]) -> None:
    with cur.copy(statement) as copy:
        copy.write(_HEAD)
        for chunk in chunks:
            copy.write(chunk)
        copy.write(_TAIL)


def _copy_by_psycopg(cur: psycopg.Cursor[Any], statement: str, columns: dict[str, str], rows: Iterable[Row]) -> None:
    with cur.copy(statement) as copy:
        copy.set_types(list(columns.values()))
        for row in rows:
            copy.write_row(row)


def _adapter(columns: dict[str, str]) -> Callable[[Row], Row]:
    """A row's values as psycopg takes them."""
    kinds = list(columns.values())
    times = [at for at, kind in enumerate(kinds) if kind == "timestamptz"]
    jsons = [at for at, kind in enumerate(kinds) if kind == "jsonb"]
    lists = [at for at, kind in enumerate(kinds) if kind.endswith("[]")]

    def adapted(row: Row) -> Row:
        values = list(row)
        for at in times:
            values[at] = None if values[at] is None else utc_from_ns(values[at])
        for at in jsons:
            values[at] = None if values[at] is None else Jsonb(values[at], dumps=bytes)
        for at in lists:
            values[at] = None if values[at] is None else list(values[at])
        return tuple(values)

    return adapted


def span_row(
    span: Span, is_counted: bool, preview: str, place: tuple[int, int] | None, detail: tuple[int, int] | None = None
) -> Row:
    """A span as it is stored. `place`: block and slot of its content. A span that does not count has no cost.

    Nothing is kept as null: of classes of tokens, where the usage is known, and of what was held.
    `detail`: block and slot of its attributes and what else lies there (`spans.details`); None: the row has all of it.
    """
    usage = None if span.usage is None else span.usage.plain()
    who = span.attribution
    block_id, slot = place or (None, None)
    detail_id, detail_slot = detail or (None, None)
    attributes = stored_attributes(span) if detail is None else stored_units(span)
    return (
        span.tenant_id,
        span.trace_id,
        span.span_id,
        span.parent_span_id,
        span.start_ns,
        span.duration_ns,
        span.name,
        span.source,
        span.is_call,
        is_counted,
        span.is_estimated,
        span.is_stream,
        span.operation_name,
        span.status,
        span.error_type,
        span.status_message,
        span.provider_name,
        span.request_model,
        span.response_model,
        span.response_id,
        span.finish_reasons if detail is None else None,
        usage.input_tokens if usage else None,
        usage.output if usage else None,
        (usage.cache_read or None) if usage else None,
        (usage.cache_creation or None) if usage else None,
        (usage.cache_write_1h or None) if usage else None,
        (usage.reasoning or None) if usage else None,
        span.cost_nanousd if is_counted else None,
        span.price_version if detail is None else "",
        span.stated_cost_nanousd,
        span.held_nanousd or None,
        span.ttft_ns,
        who.service,
        who.environment,
        who.feature,
        who.user_id,
        who.session_id,
        who.key_id,
        span.prompt_version,
        span.scope_name if detail is None else "",
        clean_text(preview),
        block_id,
        slot,
        stored_json(attributes) if attributes or detail is None else None,
        span.adapter or None,
        detail_id,
        detail_slot,
    )


def claim_row(tenant_id: int, claim: ClaimInfo, is_counted: bool, bill_id: int | None) -> Row:
    """A claim as it is stored."""
    return (
        tenant_id,
        claim.trace_id,
        claim.span_id,
        claim.parent_span_id,
        claim.start_ns,
        claim.end_ns,
        claim.source,
        claim.scope_name,
        claim.yields,
        claim.response_id,
        *(claim.usage or (None, None)),
        is_counted,
        bill_id,
    )


def bill_row(bill: Bill, budget_ids: list[int]) -> Row:
    """A bill as it is stored."""
    usage, who = bill.usage.plain(), bill.attribution
    units = bill.usage.units
    return (
        bill.tenant_id,
        bill.bill_id,
        bill.begin_ns,
        bill.trace_id,
        bill.span_id,
        bill.kind,
        bill.reason,
        bill.source,
        bill.requests,
        bill.provider_name,
        bill.model,
        bill.response_id,
        usage.uncached_input,
        usage.cache_read,
        usage.cache_write_5m,
        usage.cache_write_1h,
        usage.output,
        usage.reasoning,
        bill.cost_nanousd,
        bill.price_version,
        bill.held_nanousd,
        " ".join(map(str, budget_ids)) or None,
        who.service,
        who.environment,
        who.feature,
        who.user_id,
        who.session_id,
        who.key_id,
        stored_json(dict(units)) if units else None,
        bill.usage.tier,
        bill.prompt_version,
    )


def stored_json(value: Any) -> bytes:
    """JSON that PostgreSQL takes: no NUL, no lone surrogate. (Both are rare: only then is each string looked at.)"""
    try:
        encoded = msgspec.json.encode(value)
        if b"\\u0000" not in encoded:
            return encoded
    except UnicodeEncodeError:
        pass
    return msgspec.json.encode(_cleaned(value))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {clean_text(str(key)): _cleaned(item) for key, item in value.items()}
    return value


def clean_text(text: str) -> str:
    """Without what PostgreSQL's text cannot hold."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode()
