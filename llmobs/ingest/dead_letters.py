"""Dead letters: entries that could not be written, sealed, with a reason that names no content."""

from hashlib import sha256
from typing import Any

import msgspec
import psycopg

from llmobs.ingest.entries import Begin, End, Entry
from llmobs.ingest.seal import Sealer
from llmobs.ingest.tails import Found

MOST_REASON_CHARACTERS = 300


def bury(conn: psycopg.Connection[Any], sealer: Sealer, found: Found, reason: str) -> None:
    """Keep the entry and why; once, however often the writer comes by. Commits with the caller's transaction."""
    plain = msgspec.msgpack.encode((found.entry, found.begin))
    conn.execute(
        "INSERT INTO dead_letter (letter_id, tenant_id, kind, reason, entry) VALUES (%s, %s, %s, %s, %s) "
        "ON CONFLICT DO NOTHING",
        (
            _letter_id(found),
            _tenant_id(found),
            type(found.entry).__name__,
            reason[:MOST_REASON_CHARACTERS],
            sealer.seal(plain),
        ),
    )


def dig_up(sealer: Sealer, entry: bytes) -> tuple[Entry, Begin | None]:
    """What was buried."""
    return msgspec.msgpack.decode(sealer.unseal(entry), type=tuple[Entry, Begin | None])


def _letter_id(found: Found) -> int:
    digest = sha256(f"{found.owner}:{found.position}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _tenant_id(found: Found) -> int:
    if isinstance(found.entry, End):
        return found.begin.tenant_id if found.begin else 0
    return found.entry.tenant_id
