"""Dead letters: entries that could not be written, sealed, with a reason that names no content.

They wait to be replayed by a version that can read them (`ingest.replay`), or to be dropped.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
import psycopg

from llmobs.ingest.entries import Begin, End, Entry, OtlpBody, OtlpLogs, UsedPrice
from llmobs.ingest.otlp.wire import received
from llmobs.ingest.seal import Sealer
from llmobs.ingest.tails import Found

MOST_REASON_CHARACTERS = 300
MOST_LIBRARY_CHARACTERS = 120
# What stands as a scope's name in a body that cannot be read otherwise.
_LIBRARY = re.compile(
    rb"(?:@?opentelemetry[./-]|openinference[./]|traceloop|langfuse|logfire|pydantic-ai|openlit)[\w./@-]*"
)


def bury(conn: psycopg.Connection[Any], sealer: Sealer, found: Found, reason: str) -> None:
    """Keep the entry and why; once, however often the writer comes by. Commits with the caller's transaction."""
    plain = msgspec.msgpack.encode((found.entry, found.begin))
    conn.execute(
        "INSERT INTO dead_letter (letter_id, tenant_id, kind, reason, entry, owner, position, library) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (
            _letter_id(found),
            _tenant_id(found),
            type(found.entry).__name__,
            reason[:MOST_REASON_CHARACTERS],
            sealer.seal(plain),
            found.owner,
            found.position,
            library_of(found.entry),
        ),
    )


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as it is listed."""

    letter_id: int
    tenant: str  # its slug; "" where nobody knows
    kind: str
    reason: str
    owner: str
    library: str
    bytes: int
    tries: int
    at: datetime
    replayed_at: datetime | None


def letters(conn: psycopg.Connection[Any], slug: str = "", replayed: bool = False) -> list[Letter]:
    """What waits, the oldest first; with those that were replayed if asked."""
    rows = conn.execute(
        "SELECT letter_id, COALESCE(t.slug, ''), kind, reason, owner, library, length(entry), tries, at, replayed_at "
        "FROM dead_letter d LEFT JOIN tenants_tenant t ON t.id = d.tenant_id "
        "WHERE (%(slug)s = '' OR t.slug = %(slug)s) AND (%(replayed)s OR replayed_at IS NULL) ORDER BY at, letter_id",
        {"slug": slug, "replayed": replayed},
    ).fetchall()
    return [Letter(*row) for row in rows]


def dig_up(sealer: Sealer, entry: bytes) -> tuple[Entry, Begin | None]:
    """What was buried."""
    return msgspec.msgpack.decode(sealer.unseal(entry), type=tuple[Entry, Begin | None])


def drop(conn: psycopg.Connection[Any], letter_id: int) -> bool:
    """Delete one that nobody will replay; False: there is none."""
    return conn.execute("DELETE FROM dead_letter WHERE letter_id = %s", (letter_id,)).rowcount == 1


def library_of(entry: Entry) -> str:
    """What sent it, with its version, as far as that can be read; "" for the gateway's own."""
    if not isinstance(entry, OtlpBody | OtlpLogs):
        return ""
    try:
        span = next(iter(received(entry.body, entry.content_type))) if isinstance(entry, OtlpBody) else None
        told = f"{span.scope_name} {span.scope_version}".strip() if span else ""
    except Exception:
        told = ""  # nothing of such a body can be relied on, least of all how it fails
    if not told and (found := _LIBRARY.search(entry.body)):
        told = found[0].decode("ascii", "replace")
    return "".join(c for c in told if c.isprintable())[:MOST_LIBRARY_CHARACTERS]


def _letter_id(found: Found) -> int:
    digest = sha256(f"{found.owner}:{found.position}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _tenant_id(found: Found) -> int:
    if isinstance(found.entry, End):
        return found.begin.tenant_id if found.begin else 0
    return 0 if isinstance(found.entry, UsedPrice) else found.entry.tenant_id
