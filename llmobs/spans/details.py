"""Details: what of a reported span is shown on its own page alone lies compressed beside its row.

Attributes repeat themselves from span to span: 545 bytes a row as jsonb, 46 in a block of hundreds. So the spans of
a batch share blocks, of one tenant and day each, and a row says which and where (`detail_id`, `detail_slot`). Where it
says nothing, it has all of it itself: the gateway's own spans, whose attributes are asked for; spans that came nearly
alone; rows that are older than blocks. A block is zstd of msgpack, a list of details by slot; it goes with its spans.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

import msgspec
import psycopg
import zstandard

LEVEL = 1  # 46 bytes a span; 3 makes 52 of it, 7 makes 39 at six times the time

# 128 KB of them: of more zstd chooses other tables, and makes as much of it that PostgreSQL's pages hold less well.
DETAILS_PER_BLOCK = 200

Connection = psycopg.Connection[Any]


class Detail(msgspec.Struct, frozen=True, array_like=True):
    """Of one span. `attributes`: a JSON object, UTF-8."""

    attributes: bytes
    scope_name: str = ""
    finish_reasons: tuple[str, ...] = ()
    price_version: str = ""

    def values(self) -> dict[str, Any]:
        """By column, as a row that has no block has them."""
        return {
            "attributes": msgspec.json.decode(self.attributes),
            "scope_name": self.scope_name,
            "finish_reasons": list(self.finish_reasons),
            "price_version": self.price_version,
        }


@dataclass(frozen=True, slots=True)
class Place:
    """Where a span's detail is. `day` is that of the span's start (UTC)."""

    detail_id: int
    day: date
    slot: int


class Cursor(Protocol):
    """psycopg's, or Django's."""

    def execute(self, query: Any, params: Any = None) -> Any: ...
    def fetchall(self) -> list[Any]: ...


_DECODER = msgspec.msgpack.Decoder(list[Detail])


def make_details(details: list[Detail]) -> bytes:
    """The body of a block."""
    return zstandard.ZstdCompressor(level=LEVEL).compress(msgspec.msgpack.encode(details))


def read_details(body: bytes) -> list[Detail]:
    """What `make_details` was given."""
    # Written by ourselves, but a bound all the same: a body says how large it becomes.
    return _DECODER.decode(zstandard.ZstdDecompressor().decompress(body, max_output_size=2**31 - 1))


def details_at(cursor: Cursor, tenant_id: int, places: Iterable[Place]) -> dict[Place, Detail]:
    """The details at these places, each block read once; a place whose block is gone is left out."""
    wanted: dict[tuple[int, date], list[Place]] = {}
    for place in places:
        wanted.setdefault((place.detail_id, place.day), []).append(place)
    if not wanted:
        return {}
    days = [day for _, day in wanted]
    # All at once: a trace that came in many batches lies in as many blocks.
    cursor.execute(
        "SELECT b.detail_id, b.day, b.body FROM detail_block b JOIN unnest(%s::bigint[], %s::date[]) "
        "AS wanted (detail_id, day) ON b.detail_id = wanted.detail_id AND b.day = wanted.day "
        "WHERE b.tenant_id = %s AND b.day BETWEEN %s AND %s",
        [[detail_id for detail_id, _ in wanted], days, tenant_id, min(days), max(days)],
    )
    found: dict[Place, Detail] = {}
    for detail_id, day, body in cursor.fetchall():
        block = read_details(bytes(body))
        found |= {place: block[place.slot] for place in wanted[detail_id, day] if place.slot < len(block)}
    return found


def rewrite_details(conn: Connection, tenant_id: int, changed: Mapping[Place, Detail]) -> int:
    """Put these in the place of what is there: nothing of that stays. How many blocks were written anew.

    Under the tenant's lock: who reads a block, changes another slot and writes it would bring the old one back.
    """
    blocks: dict[tuple[int, date], list[Detail]] = {}
    for place, detail in changed.items():
        key = (place.detail_id, place.day)
        if key not in blocks:
            blocks[key] = _block(conn.cursor(), tenant_id, *key)
        if place.slot < len(blocks[key]):
            blocks[key][place.slot] = detail
    for (detail_id, day), details in sorted(blocks.items()):
        conn.execute(
            "UPDATE detail_block SET body = %s WHERE tenant_id = %s AND detail_id = %s AND day = %s",
            (make_details(details), tenant_id, detail_id, day),
        )
    return len(blocks)


def _block(cursor: Cursor, tenant_id: int, detail_id: int, day: date) -> list[Detail]:
    cursor.execute(
        "SELECT body FROM detail_block WHERE tenant_id = %s AND detail_id = %s AND day = %s",
        (tenant_id, detail_id, day),
    )
    return next((read_details(bytes(body)) for (body,) in cursor.fetchall()), [])
