"""A person out of bodies that are kept whole, as they came or as dead letters: such a body is deleted.

A body as it came goes if it names the person, or holds a span of one of their traces: what it says is in the tables
already. A dead letter goes if it names the person: it was never counted.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg

from llmobs.ingest.dead_letters import dig_up
from llmobs.ingest.otlp.decode import decode
from llmobs.ingest.otlp.wire import OtlpError
from llmobs.ingest.raw_bodies import RawBody, forget, kept
from llmobs.ingest.seal import SealBroken, Sealer
from llmobs.keeping.person import Person

Connection = psycopg.Connection[Any]
_EVER = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def erase_bodies(conn: Connection, person: Person, traces: set[bytes]) -> int:
    """Bodies as they came; how many. `conn` is in autocommit."""
    gone = [raw.body_id for raw in kept(conn, person.tenant_id, *_EVER) if _is_theirs(raw, person, traces)]
    return forget(conn, person.tenant_id, gone)


def _is_theirs(raw: RawBody, person: Person, traces: set[bytes]) -> bool:
    entry = raw.entry()
    if person.user_id in raw.users or (person.is_telling and person.is_named_in(entry.body)):
        return True
    try:
        spans = decode(entry, raw.key_attribution())
    except OtlpError:
        return False
    return any(span.trace_id in traces and not span.attribution.user_id for span in spans)


def erase_letters(conn: Connection, person: Person, sealer: Sealer) -> int:
    """Dead letters that name the person; how many."""
    dropped = 0
    for letter_id, sealed in conn.execute(
        "SELECT letter_id, entry FROM dead_letter WHERE tenant_id IN (%s, 0) AND entry <> ''", (person.tenant_id,)
    ).fetchall():
        try:
            entry = dig_up(sealer, bytes(sealed))
        except (SealBroken, msgspec.DecodeError):
            continue  # nobody can read it any more
        if person.is_named_in(msgspec.msgpack.encode(entry)):
            dropped += conn.execute("DELETE FROM dead_letter WHERE letter_id = %s", (letter_id,)).rowcount
    return dropped
