"""Log records' content to their spans, in a transaction of its own per tenant (`joiner` does it, beside the writer).

1. Records that are due, by span: those whose span is not there yet are looked at again after a pause that doubles.
2. A side (input, output) that the span brought itself stays: the records only repeat it, and go.
3. Else the side is made of all records of it so far, by their time; a late one makes it anew, in its place.
Content that has been joined and is gone since was erased: it does not come back.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import structlog
from psycopg import errors

from llmobs.core.ids import new_row_id
from llmobs.core.semconv import SOURCE_OTLP
from llmobs.ingest.commit import share_tenant
from llmobs.ingest.content import preview
from llmobs.ingest.copying import clean_text, copy_blocks
from llmobs.ingest.log_records import delete_old, tenants
from llmobs.ingest.otlp.messages import encoded
from llmobs.spans.blocks import SPANS_PER_BLOCK, Content, make_block, read_block
from llmobs.spans.record import Span

MOST_SPANS = 200  # of one transaction, for which the tenant's writer may have to wait
MOST_RECORDS_OF_A_SPAN = 1000  # later ones are left out
FIRST_PAUSE_SECONDS, MOST_DOUBLINGS = 0.5, 6  # 32 s between the last looks

_LOCK = 0x6C6C6D6A  # "llmj": one joins for a tenant at a time

Connection = psycopg.Connection[Any]
Ids = tuple[bytes, bytes]
Blocks = dict[tuple[int, date], list[Content]]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Place:
    """A span that is there, and where its content is."""

    trace_id: bytes
    span_id: bytes
    start: datetime
    block_id: int | None
    slot: int | None

    @property
    def day(self) -> date:
        return self.start.astimezone(UTC).date()


@dataclass(frozen=True, slots=True)
class Kept:
    """A record as it is kept."""

    record_id: bytes
    is_input: bool
    is_whole: bool
    is_joined: bool
    messages: str


def join_all(conn: Connection, now: datetime) -> int:
    """Join what is due, of all tenants; how many spans got content. `conn` is in autocommit."""
    joined = 0
    for tenant_id in tenants(conn):
        try:
            with conn.transaction():
                joined += _join(conn, tenant_id, now)
        except (errors.DeadlockDetected, errors.LockNotAvailable):
            continue  # somebody writes these spans: at the next look
        if lost := delete_old(conn, tenant_id, now):
            log.warning("log records whose spans never came", tenant_id=tenant_id, records=lost)
    return joined


def _join(conn: Connection, tenant_id: int, now: datetime) -> int:
    row = conn.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", (_LOCK, tenant_id & 0x7FFFFFFF)).fetchone()
    if row is None or not row[0]:
        return 0
    share_tenant(conn, tenant_id)  # not while a person is erased, or a past day read again
    due = _due(conn, tenant_id, now)
    places = {(place.trace_id, place.span_id): place for place in _places(conn, tenant_id, due)}
    _look_again(conn, tenant_id, [ids for ids, _ in due if ids not in places], now)
    records, blocks = _records(conn, tenant_id, list(places)), _blocks(conn, tenant_id, places.values())
    new: list[tuple[Place, Content]] = []
    changed: list[tuple[Place, Content]] = []
    useless: list[tuple[bytes, bytes, bytes]] = []
    for ids, place in places.items():
        content, repeated = _content(records[ids], _before(place, blocks))
        useless += [(*ids, record_id) for record_id in repeated]
        if content is not None:
            (new if place.block_id is None else changed).append((place, content))
    _forget(conn, tenant_id, list(places), useless)
    _replace(conn, tenant_id, changed, blocks)
    _point(conn, tenant_id, changed + _stored(conn, tenant_id, new))
    return len(new) + len(changed)


# A span begins before its events, and lasts a day at most; where several have its ids, the first is meant.
_DUE = """
SELECT trace_id, span_id, min(at_ns) FROM log_record
WHERE tenant_id = %s AND NOT is_joined AND try_at <= %s GROUP BY 1, 2 ORDER BY min(try_at) LIMIT %s
"""
_PLACES = """
SELECT s.trace_id, s.span_id, s.start, s.block_id, s.block_slot
FROM unnest(%(traces)s::bytea[], %(spans)s::bytea[], %(after)s::timestamptz[], %(before)s::timestamptz[])
    AS k (trace_id, span_id, after, before)
CROSS JOIN LATERAL (SELECT * FROM span WHERE tenant_id = %(tenant_id)s AND trace_id = k.trace_id
    AND span_id = k.span_id AND start BETWEEN k.after AND k.before ORDER BY start LIMIT 1) s
"""


def _due(conn: Connection, tenant_id: int, now: datetime) -> list[tuple[Ids, datetime]]:
    rows = conn.execute(_DUE, (tenant_id, now, MOST_SPANS))
    return [((bytes(trace), bytes(span)), datetime.fromtimestamp(at_ns / 1e9, UTC)) for trace, span, at_ns in rows]


def _places(conn: Connection, tenant_id: int, due: list[tuple[Ids, datetime]]) -> Iterable[Place]:
    asked = {
        "tenant_id": tenant_id,
        "traces": [ids[0] for ids, _ in due],
        "spans": [ids[1] for ids, _ in due],
        "after": [at - timedelta(days=1) for _, at in due],
        "before": [at + timedelta(hours=1) for _, at in due],
    }
    for trace_id, span_id, start, block_id, slot in conn.execute(_PLACES, asked).fetchall() if due else ():
        yield Place(bytes(trace_id), bytes(span_id), start, block_id, slot)


def _look_again(conn: Connection, tenant_id: int, missing: list[Ids], now: datetime) -> None:
    conn.execute(
        "UPDATE log_record r SET tries = r.tries + 1, try_at = %s::timestamptz + make_interval(secs => "
        "%s * power(2, least(r.tries, %s))) FROM unnest(%s::bytea[], %s::bytea[]) AS k (trace_id, span_id) "
        "WHERE r.tenant_id = %s AND r.trace_id = k.trace_id AND r.span_id = k.span_id AND NOT r.is_joined",
        (now, FIRST_PAUSE_SECONDS, MOST_DOUBLINGS, [t for t, _ in missing], [s for _, s in missing], tenant_id),
    )


def _records(conn: Connection, tenant_id: int, ids: list[Ids]) -> dict[Ids, list[Kept]]:
    rows = conn.execute(
        "SELECT r.trace_id, r.span_id, r.record_id, r.is_input, r.is_whole, r.is_joined, r.messages "
        "FROM unnest(%s::bytea[], %s::bytea[]) AS k (trace_id, span_id) CROSS JOIN LATERAL (SELECT * FROM log_record "
        "WHERE tenant_id = %s AND trace_id = k.trace_id AND span_id = k.span_id "
        "ORDER BY at_ns, place, record_id LIMIT %s) r ORDER BY r.at_ns, r.place, r.record_id",
        ([trace_id for trace_id, _ in ids], [span_id for _, span_id in ids], tenant_id, MOST_RECORDS_OF_A_SPAN),
    )
    found: dict[Ids, list[Kept]] = {key: [] for key in ids}
    for trace_id, span_id, record_id, *rest in rows:
        found[bytes(trace_id), bytes(span_id)].append(Kept(bytes(record_id), *rest))
    return found


def _blocks(conn: Connection, tenant_id: int, places: Iterable[Place]) -> Blocks:
    """The blocks that these spans have, locked."""
    keys = sorted({(place.block_id, place.day) for place in places if place.block_id is not None})
    rows = conn.execute(
        "SELECT block_id, day, body FROM payload_block WHERE tenant_id = %s AND (block_id, day) IN "
        "(SELECT * FROM unnest(%s::bigint[], %s::date[])) ORDER BY block_id FOR UPDATE",
        (tenant_id, [block_id for block_id, _ in keys], [day for _, day in keys]),
        binary=True,
    )
    return {(block_id, day): read_block(body) for block_id, day, body in rows}


def _before(place: Place, blocks: Blocks) -> Content | None:
    """The content that the span has; None: it had some, which is gone."""
    if place.block_id is None or place.slot is None:
        return None, None
    contents = blocks.get((place.block_id, place.day), [])
    return contents[place.slot] if place.slot < len(contents) else None


def _content(records: list[Kept], before: Content | None) -> tuple[Content | None, list[bytes]]:
    """What the span's content becomes (None: it stays), and the records that are of no use."""
    is_erased = before is None or (before == (None, None) and any(record.is_joined for record in records))
    if before is None or is_erased:
        return None, [record.record_id for record in records]
    sides, repeated = list(before), []
    for side, is_input in enumerate((True, False)):
        told = [record for record in records if record.is_input is is_input]
        if before[side] is not None and not any(record.is_joined for record in told):
            repeated += [record.record_id for record in told]  # the span has brought it itself
        elif told:
            sides[side] = _messages(told)
    content = (sides[0], sides[1])
    return (content if content != before else None), repeated


def _messages(told: list[Kept]) -> str:
    """All messages in their order; a record that has the whole side stands for the rest."""
    whole = [record for record in told if record.is_whole]
    texts = [whole[-1].messages] if whole else [record.messages for record in told]
    if len(texts) == 1:
        return texts[0]
    return encoded([message for text in texts for message in msgspec.json.decode(text)])


def _forget(conn: Connection, tenant_id: int, ids: list[Ids], useless: list[tuple[bytes, bytes, bytes]]) -> None:
    """Those that are of no use go; the others have been seen."""
    conn.execute(
        "DELETE FROM log_record r USING unnest(%s::bytea[], %s::bytea[], %s::bytea[]) AS k (trace_id, span_id, id) "
        "WHERE r.tenant_id = %s AND r.trace_id = k.trace_id AND r.span_id = k.span_id AND r.record_id = k.id",
        (*([key[part] for key in useless] for part in range(3)), tenant_id),
    )
    conn.execute(
        "UPDATE log_record r SET is_joined = true FROM unnest(%s::bytea[], %s::bytea[]) AS k (trace_id, span_id) "
        "WHERE r.tenant_id = %s AND r.trace_id = k.trace_id AND r.span_id = k.span_id AND NOT r.is_joined",
        ([trace_id for trace_id, _ in ids], [span_id for _, span_id in ids], tenant_id),
    )


def _replace(conn: Connection, tenant_id: int, changed: list[tuple[Place, Content]], blocks: Blocks) -> None:
    """Into the slots that the spans have: what was there does not stay behind."""
    touched: set[tuple[int, date]] = set()
    for place, content in changed:
        assert place.block_id is not None
        assert place.slot is not None
        blocks[place.block_id, place.day][place.slot] = content
        touched.add((place.block_id, place.day))
    for block_id, day in sorted(touched):
        conn.execute(
            "UPDATE payload_block SET body = %s WHERE tenant_id = %s AND block_id = %s AND day = %s",
            (make_block(blocks[block_id, day]), tenant_id, block_id, day),
        )


def _stored(conn: Connection, tenant_id: int, new: list[tuple[Place, Content]]) -> list[tuple[Place, Content]]:
    """Contents of spans that had none: in blocks of their own, by day. Answers where."""
    placed: list[tuple[Place, Content]] = []
    by_day: dict[date, list[tuple[Place, Content]]] = {}
    for place, content in new:
        by_day.setdefault(place.day, []).append((place, content))
    for day, of_day in by_day.items():
        for at in range(0, len(of_day), SPANS_PER_BLOCK):
            part, block_id = of_day[at : at + SPANS_PER_BLOCK], new_row_id()
            copy_blocks(conn, [(tenant_id, block_id, day, make_block([content for _, content in part]))])
            placed += [(replace(p, block_id=block_id, slot=slot), content) for slot, (p, content) in enumerate(part)]
    return placed


def _point(conn: Connection, tenant_id: int, placed: list[tuple[Place, Content]]) -> None:
    """Spans to their contents, with what lists show of them."""
    places = [place for place, _ in placed]
    conn.execute(
        "UPDATE span s SET block_id = k.block_id, block_slot = k.slot, preview = k.preview "
        "FROM unnest(%s::bytea[], %s::bytea[], %s::timestamptz[], %s::bigint[], %s::smallint[], %s::text[]) "
        "AS k (trace_id, span_id, start, block_id, slot, preview) WHERE s.tenant_id = %s "
        "AND s.trace_id = k.trace_id AND s.span_id = k.span_id AND s.start = k.start",
        (
            [place.trace_id for place in places],
            [place.span_id for place in places],
            [place.start for place in places],
            [place.block_id for place in places],
            [place.slot for place in places],
            [_preview(content) for _, content in placed],
            tenant_id,
        ),
    )


def _preview(content: Content) -> str:
    return clean_text(preview(Span(0, b"", b"", None, 0, 0, "", SOURCE_OTLP, input=content[0], output=content[1])))
