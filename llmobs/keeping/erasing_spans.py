"""A person out of one day of spans: their content, their id, and others' rows in which the id stands.

Found first, without a lock; changed in lots under the tenant's lock, so that no writer waits for long. Contents go
before the rows that name them, spans without a user before the person's own, traces last: a run that was killed finds
what is left by the id or by its pseudonym.
"""

# ruff: noqa: S608 -- table and column names are constants, values are bound

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

import psycopg
from psycopg.types.json import Jsonb

from llmobs.core.clock import ns_from_utc
from llmobs.ingest.commit import lock_tenants
from llmobs.ingest.content import NONE, Door
from llmobs.keeping.archive import day_bounds
from llmobs.keeping.erasing_details import erase_details
from llmobs.keeping.person import Person
from llmobs.spans.blocks import Content, make_block, read_block
from llmobs.spans.record import Span

ROWS_OF_A_LOT = 500  # some hundredths of a second, for which the tenant's writer may have to wait
BLOCKS_OF_A_LOT = 50

Connection = psycopg.Connection[Any]
Found = dict[str, int]
Item = TypeVar("Item")

_COLUMNS = (
    "trace_id, span_id, start, user_id, session_id, name, status, status_message, preview, "
    "COALESCE(attributes, '{}'), block_id, block_slot, detail_id, detail_slot"
)


@dataclass(slots=True)
class Trail:
    """Where the person was: sessions that hold their id, with what each becomes, and traces of theirs."""

    sessions: dict[str, str] = field(default_factory=dict)
    traces: set[bytes] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Row:
    """A span as far as it can name somebody."""

    trace_id: bytes
    span_id: bytes
    start: datetime
    user_id: str
    session_id: str
    name: str
    status: str
    status_message: str
    preview: str
    attributes: dict[str, Any] | None  # None: they lie elsewhere
    block_id: int | None
    slot: int | None
    detail_id: int | None
    detail_slot: int | None


def sessions_of(conn: Connection, person: Person) -> dict[str, str]:
    """All of the tenant's sessions whose id holds the person's, with what each becomes.

    Of an id that may be any word, only sessions that the person took part in.
    """
    whose = "" if person.is_telling else " AND user_id = ANY(%(names)s)"
    found: set[str] = set()
    for table in ("span", "trace", "bill"):
        rows = conn.execute(
            f"SELECT DISTINCT session_id FROM {table} WHERE tenant_id = %(tenant)s AND session_id <> '' "
            f"AND position(%(id)s IN session_id) > 0{whose}",
            {"tenant": person.tenant_id, "id": person.user_id, "names": person.names},
        )
        found |= {row[0] for row in rows}
    return {session: new for session in sorted(found) if (new := person.rename(session)) != session}


def erase_day(conn: Connection, person: Person, trail: Trail, day: date) -> Found:
    """Whatever the day holds of the person; how much. `conn` is in autocommit."""
    traces = _traces(conn, person, day)
    trail.traces |= traces
    theirs = _theirs(conn, person, day, traces)
    others = _others(conn, person, trail, day, {(row.trace_id, row.span_id) for row in theirs})
    found: Found = {"payload_block": _erase_contents(conn, person, day, theirs)}
    described = {(row.detail_id, row.detail_slot or 0) for row in theirs if row.detail_id is not None}
    found["detail_block"] = erase_details(conn, person, day, described)
    theirs.sort(key=lambda row: row.user_id != "")
    for lot in _lots(theirs, ROWS_OF_A_LOT):
        with conn.transaction():
            lock_tenants(conn, [person.tenant_id])
            _update(conn, person, [(row, _emptied(person, row, trail)) for row in lot])
    for lot in _lots(others, ROWS_OF_A_LOT):
        with conn.transaction():
            lock_tenants(conn, [person.tenant_id])
            _update(conn, person, [(row, _renamed(person, row, trail)) for row in lot])
    found["span"] = sum(row.user_id == person.user_id for row in theirs)
    found["spans of others"] = len(others)
    with conn.transaction():
        lock_tenants(conn, [person.tenant_id])
        found |= _beside(conn, person, theirs, traces)
        found["trace"] = _rename_traces(conn, person, trail, day)
    return found


def _lots(rows: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (rows[at : at + size] for at in range(0, len(rows), size))


# ---------------------------------------------------------------- what there is


def _traces(conn: Connection, person: Person, day: date) -> set[bytes]:
    """Traces with a span of the person that day, or whose totals name them."""
    start, end = day_bounds(day)
    who = (person.tenant_id, person.names)
    rows = conn.execute(
        "SELECT trace_id FROM span WHERE tenant_id = %s AND user_id = ANY(%s) AND start >= %s AND start < %s UNION "
        "SELECT trace_id FROM trace WHERE tenant_id = %s AND user_id = ANY(%s) AND day BETWEEN %s AND %s",
        (*who, start, end, *who, day - timedelta(days=1), day + timedelta(days=1)),
    )
    return {bytes(row[0]) for row in rows}


def _theirs(conn: Connection, person: Person, day: date, traces: set[bytes]) -> list[Row]:
    """Spans of the person, and those without a user in the person's traces."""
    start, end = day_bounds(day)
    within = (person.tenant_id, start, end)
    rows = conn.execute(
        f"SELECT {_COLUMNS} FROM span WHERE tenant_id = %s AND start >= %s AND start < %s AND user_id = ANY(%s) "
        f"UNION ALL SELECT {_COLUMNS} FROM span WHERE tenant_id = %s AND start >= %s AND start < %s AND user_id = '' "
        "AND trace_id = ANY(%s)",
        (*within, person.names, *within, sorted(traces)),
    )
    return [Row(bytes(trace_id), bytes(span_id), *rest) for trace_id, span_id, *rest in rows]


def _others(conn: Connection, person: Person, trail: Trail, day: date, theirs: set[tuple[bytes, bytes]]) -> list[Row]:
    """Spans of others in which the id stands; of an id that may be any word, those of the sessions alone."""
    start, end = day_bounds(day)
    asked = {
        "tenant": person.tenant_id, "start": start, "end": end, "names": person.names, "id": person.user_id,
        "escaped": person.escaped, "sessions": list(trail.sessions),
    }  # fmt: skip
    anywhere = (
        "position(%(id)s IN concat_ws(' ', session_id, name, status_message, preview)) > 0 "
        "OR position(%(escaped)s IN attributes::text) > 0"
    )
    rows = conn.execute(
        f"SELECT {_COLUMNS} FROM span WHERE tenant_id = %(tenant)s AND start >= %(start)s AND start < %(end)s "
        f"AND user_id <> ALL(%(names)s) AND ({anywhere if person.is_telling else 'session_id = ANY(%(sessions)s)'})",
        asked,
    )
    found = [Row(bytes(trace_id), bytes(span_id), *rest) for trace_id, span_id, *rest in rows]
    return [
        row
        for row in found
        if (row.trace_id, row.span_id) not in theirs and _renamed(person, row, trail) != _values(row.user_id, row)
    ]


# ---------------------------------------------------------------- rows

Values = tuple[str, str, str, str, str, dict[str, Any] | None]


def _values(user_id: str, row: Row) -> Values:
    return user_id, row.session_id, row.name, row.status_message, row.preview, row.attributes


def _emptied(person: Person, row: Row, trail: Trail) -> Values:
    """A row of theirs: no content, no name."""
    span = Span(person.tenant_id, row.trace_id, row.span_id, None, ns_from_utc(row.start), 0, "", 0)
    span.status, span.status_message, span.attributes = row.status, row.status_message, row.attributes or {}
    Door({person.tenant_id: NONE}, b"").apply(span)
    user_id = person.pseudonym if row.user_id == person.user_id else row.user_id
    session = trail.sessions.get(row.session_id, row.session_id)
    message = person.rename(span.status_message)
    attributes = None if row.attributes is None else person.rename_json(span.attributes)
    return user_id, session, person.rename(row.name), message, "", attributes


def _renamed(person: Person, row: Row, trail: Trail) -> Values:
    """A row of somebody else: all of it stays but the id."""
    session = trail.sessions.get(row.session_id, row.session_id)
    if not person.is_telling:
        return row.user_id, session, row.name, row.status_message, row.preview, row.attributes
    texts = person.rename(row.name), person.rename(row.status_message), person.rename(row.preview)
    return row.user_id, session, *texts, person.rename_json(row.attributes)


def _update(conn: Connection, person: Person, changes: list[tuple[Row, Values]]) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(
            "UPDATE span SET user_id = %s, session_id = %s, name = %s, status_message = %s, preview = %s, "
            "attributes = %s WHERE tenant_id = %s AND trace_id = %s AND span_id = %s AND start = %s",
            [
                (
                    *values,
                    None if attributes is None else Jsonb(attributes),
                    person.tenant_id,
                    row.trace_id,
                    row.span_id,
                    row.start,
                )
                for row, (*values, attributes) in changes
            ],
        )


def _rename_traces(conn: Connection, person: Person, trail: Trail, day: date) -> int:
    """Totals that name the person, or hold the id."""
    named = "t.user_id = ANY(%(names)s) OR t.session_id = ANY(%(sessions)s)"
    if person.is_telling:
        named += " OR position(%(id)s IN t.name) > 0"
    rows = conn.execute(
        f"SELECT trace_id, user_id, session_id, name FROM trace t WHERE tenant_id = %(tenant)s AND day = %(day)s "
        f"AND ({named})",
        {"tenant": person.tenant_id, "day": day, "names": person.names, "sessions": list(trail.sessions),
         "id": person.user_id},
    ).fetchall()  # fmt: skip
    changes = []
    for trace_id, user_id, session_id, name in rows:
        is_theirs = user_id in person.names
        new = (
            person.pseudonym if is_theirs else user_id,
            trail.sessions.get(session_id, session_id),
            person.rename(name) if is_theirs or person.is_telling else name,
        )
        if new != (user_id, session_id, name):
            changes.append((*new, person.tenant_id, trace_id, day))
    with conn.cursor() as cursor:
        cursor.executemany(
            "UPDATE trace SET user_id = %s, session_id = %s, name = %s WHERE tenant_id = %s AND trace_id = %s "
            "AND day = %s",
            changes,
        )
    return len(changes)


def _beside(conn: Connection, person: Person, theirs: list[Row], traces: set[bytes]) -> Found:
    """What others say of these spans: fingerprints of what was found in them, scores, records that wait for them."""
    trace_ids = [row.trace_id for row in theirs]
    found: Found = {}
    found["security_event"] = conn.execute(
        "UPDATE security_event e SET fingerprint = '' FROM unnest(%s::bytea[], %s::bytea[]) AS k (trace_id, span_id) "
        "WHERE e.tenant_id = %s AND e.trace_id = k.trace_id AND e.span_id = k.span_id AND e.fingerprint <> ''",
        (trace_ids, [row.span_id for row in theirs], person.tenant_id),
    ).rowcount
    concerned = sorted(traces | set(trace_ids))
    found["evals_score"] = conn.execute(
        "UPDATE evals_score SET comment = '', details = '{}' WHERE tenant_id = %s AND trace_id = ANY(%s) "
        "AND (comment <> '' OR details <> '{}')",
        (person.tenant_id, concerned),
    ).rowcount
    found["log_record"] = conn.execute(
        "DELETE FROM log_record WHERE tenant_id = %s AND trace_id = ANY(%s)", (person.tenant_id, concerned)
    ).rowcount
    return found


# ---------------------------------------------------------------- contents


def _erase_contents(conn: Connection, person: Person, day: date, theirs: list[Row]) -> int:
    """Theirs out of their blocks; in others' the id alone, where it can mean nobody else. How many of theirs."""
    slots: dict[int, set[int]] = {}
    for row in theirs:
        if row.block_id is not None and row.slot is not None:
            slots.setdefault(row.block_id, set()).add(row.slot)
    concerned = set(slots) | (_naming_blocks(conn, person, day) if person.is_telling else set())
    erased = 0
    for lot in _lots(sorted(concerned), BLOCKS_OF_A_LOT):
        with conn.transaction():
            lock_tenants(conn, [person.tenant_id])
            erased += sum(_rewrite(conn, person, (block_id, day), slots.get(block_id, set())) for block_id in lot)
    return erased


def _naming_blocks(conn: Connection, person: Person, day: date) -> set[int]:
    """Blocks in which the id stands, whoever's content it is in."""
    blocks = conn.execute(
        "SELECT block_id FROM payload_block WHERE tenant_id = %s AND day = %s", (person.tenant_id, day)
    ).fetchall()
    found: set[int] = set()
    for lot in _lots(blocks, BLOCKS_OF_A_LOT):
        bodies = conn.execute(
            "SELECT block_id, body FROM payload_block WHERE tenant_id = %s AND day = %s AND block_id = ANY(%s)",
            (person.tenant_id, day, [block_id for (block_id,) in lot]),
            binary=True,
        )
        found |= {block_id for block_id, body in bodies if _is_named(person, read_block(body))}
    return found


def _is_named(person: Person, contents: list[Content]) -> bool:
    return any(person.rename_content(text) != text for content in contents for text in content)


def _rewrite(conn: Connection, person: Person, key: tuple[int, date], gone: set[int]) -> int:
    where, values = "tenant_id = %s AND block_id = %s AND day = %s", (person.tenant_id, *key)
    row = conn.execute(f"SELECT body FROM payload_block WHERE {where}", values, binary=True).fetchone()
    contents = read_block(row[0]) if row else []
    left = [_left(person, content, at in gone) for at, content in enumerate(contents)]
    if all(content == (None, None) for content in left):
        conn.execute(f"DELETE FROM payload_block WHERE {where}", values)
    elif left != contents:
        conn.execute(f"UPDATE payload_block SET body = %s WHERE {where}", (make_block(left), *values))
    return sum(at in gone and content != (None, None) for at, content in enumerate(contents))


def _left(person: Person, content: Content, is_gone: bool) -> Content:
    if is_gone:
        return None, None
    given, answered = content
    return (person.rename_content(given), person.rename_content(answered)) if person.is_telling else content
