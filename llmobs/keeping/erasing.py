"""Erasure of a person: their content is removed, their id and what holds it becomes a random pseudonym.

 1. Refused while configuration names the person (a budget's or a limit's scope): what it counts could not add up.
 2. The journals of before are waited for: what is not written yet cannot be found.
 3. Day by day, in lots under the tenant's lock: spans of the person, and those without a user in the person's traces;
    their blocks, trace totals, scores, security events; then others' rows in which the id stands (`erasing_spans`).
 4. Bills, users' days and budgets' spend in one transaction: every sum is what it was (`erasing_money`).
 5. Every other text of the tenant's (`erasing_texts`); bodies as they came, dead letters (`erasing_bodies`).
Steps may be killed: the pseudonym is kept until the end, and a run that goes on finds what is left.
Spans, bills and claims keep their ids: those name a call, nobody else knows whose.
"""

import time
from collections.abc import Callable
from typing import Any

import psycopg

from llmobs.core.env import Place, host_name
from llmobs.ingest.commit import lock_tenants
from llmobs.ingest.journal_folders import owners
from llmobs.ingest.journal_reader import JournalReader
from llmobs.keeping.erasing_bodies import erase_bodies
from llmobs.keeping.erasing_money import rename_money
from llmobs.keeping.erasing_spans import Trail, erase_day, sessions_of
from llmobs.keeping.erasing_texts import refused_by, rename_texts
from llmobs.keeping.person import Person
from llmobs.spans.partitions import existing_days

DRAIN_SECONDS = 60.0
PAUSE_SECONDS = 0.1

Connection = psycopg.Connection[Any]
Found = dict[str, int]


class NotErased(Exception):
    """The person cannot be erased now; the message says what to do first."""


def erase(conn: Connection, person: Person) -> Found:
    """Everything in the tables; how much was found in each. `conn` is in autocommit. Raises NotErased."""
    if what := refused_by(conn, person):
        raise NotErased(f"{what} names the person: change or delete it first")
    found: Found = {}
    trail = Trail(sessions_of(conn, person))
    for day in sorted(existing_days(conn) | existing_days(conn, "trace") | existing_days(conn, "payload_block")):
        _add(found, erase_day(conn, person, trail, day))
    _add(found, rename_money(conn, person, trail))
    with conn.transaction():
        lock_tenants(conn, [person.tenant_id])
        _add(found, rename_texts(conn, person))
    _add(found, {"raw_body": erase_bodies(conn, person, trail.traces)})
    return found


def _add(found: Found, more: Found) -> None:
    for name, count in more.items():
        if count:
            found[name] = found.get(name, 0) + count


def await_journals(
    conn: Connection,
    place: Place,
    key: bytes,
    seconds: float = DRAIN_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Until what stands in this host's journals now is written, and other hosts' writers say that nothing waits.

    Raises NotErased.
    """
    ends = {folder.name: JournalReader(folder, key).end() for folder in owners(place.journal)}
    waited = 0.0
    while behind := _behind(conn, ends):
        if waited >= seconds:
            raise NotErased(f"entries of before are not written yet ({behind}): is a writer running? Try again then")
        sleep(PAUSE_SECONDS)
        waited += PAUSE_SECONDS


def _behind(conn: Connection, ends: dict[str, int]) -> str:
    stored = dict(conn.execute("SELECT owner, low_water FROM journal_offset").fetchall())
    for owner, end in ends.items():
        if end and stored.get(owner, 0) < end:
            return f"journal {owner}"
    row = conn.execute(
        "SELECT owner FROM heartbeat WHERE kind = 'writer' AND waiting_spans > 0 AND host <> %s "
        "AND seen_at > now() - interval '10 s' LIMIT 1",
        (host_name(),),
    ).fetchone()
    return str(row[0]) if row else ""
