"""A person out of one day's details: theirs without content, in others' the id alone, where it can mean nobody else.

Block by block, some at a time under the tenant's lock: a writer makes blocks and leaves them, a re-mapping changes them
under the same lock.
"""

from datetime import date
from typing import Any

import msgspec
import psycopg
from msgspec.structs import replace

from llmobs.ingest.commit import lock_tenants
from llmobs.ingest.content import NONE, Door
from llmobs.keeping.person import Person
from llmobs.spans.details import Detail, Place, read_details, rewrite_details
from llmobs.spans.record import Span

BLOCKS_OF_A_LOT = 50

Connection = psycopg.Connection[Any]


def erase_details(conn: Connection, person: Person, day: date, theirs: set[tuple[int, int]]) -> int:
    """Those at (block, slot) are theirs; how many changed, of whomever. `conn` is in autocommit."""
    ids = [each for (each,) in conn.execute(
        "SELECT detail_id FROM detail_block WHERE tenant_id = %s AND day = %s ORDER BY detail_id",
        (person.tenant_id, day),
    )]  # fmt: skip
    if not person.is_telling:
        ids = sorted(set(ids) & {detail_id for detail_id, _ in theirs})
    changed = 0
    for at in range(0, len(ids), BLOCKS_OF_A_LOT):
        with conn.transaction():
            lock_tenants(conn, [person.tenant_id])
            for detail_id in ids[at : at + BLOCKS_OF_A_LOT]:
                changed += _erase_block(conn, person, (detail_id, day), theirs)
    return changed


def _erase_block(conn: Connection, person: Person, key: tuple[int, date], theirs: set[tuple[int, int]]) -> int:
    detail_id, day = key
    row = conn.execute(
        "SELECT body FROM detail_block WHERE tenant_id = %s AND detail_id = %s AND day = %s",
        (person.tenant_id, *key),
        binary=True,
    ).fetchone()
    new: dict[Place, Detail] = {}
    for slot, detail in enumerate(read_details(row[0]) if row else ()):
        left = _erased(person, detail, (detail_id, slot) in theirs)
        if left != detail:
            new[Place(detail_id, day, slot)] = left
    if new:
        rewrite_details(conn, person.tenant_id, new)
    return len(new)


def _erased(person: Person, detail: Detail, is_theirs: bool) -> Detail:
    if not is_theirs and not (person.is_telling and person.escaped.encode() in detail.attributes):
        return detail
    before = attributes = msgspec.json.decode(detail.attributes)
    if is_theirs:
        span = Span(person.tenant_id, b"", b"", None, 0, 0, "", 0, attributes=attributes)
        Door({person.tenant_id: NONE}, b"").apply(span)
        attributes = span.attributes
    attributes = person.rename_json(attributes)
    return detail if attributes == before else replace(detail, attributes=msgspec.json.encode(attributes))
