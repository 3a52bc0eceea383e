"""Erasure of a person: their content is removed, their id and what holds it becomes a random pseudonym.

 1. Refused while configuration names the person (a budget's or a limit's scope): what it counts could not add up.
 2. The journals of before are waited for: what is not written yet cannot be found.
 3. Day by day, each in one transaction under the tenant's lock: spans of the person, and those without a user in the
    person's traces; their blocks, trace totals, users' days, scores, security events.
 4. Bills and budgets' spend in one transaction: figures stay, their names change, so that every sum is what it was.
 5. Alerts, the audit trail, runaway sessions, dead letters, bodies kept as they came.
Steps may be killed: the pseudonym is kept until the end, and a run that goes on finds what is left.
Spans, bills and claims keep their ids: those name a call, nobody else knows whose.
"""

# ruff: noqa: S608 -- table and column names are constants, values are bound

import json
import socket
import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from llmobs.budgets.spend import BUDGETS_LOCK
from llmobs.core.clock import ns_from_utc
from llmobs.core.env import Place
from llmobs.ingest import raw_bodies
from llmobs.ingest.commit import lock_tenants
from llmobs.ingest.content import NONE, Door
from llmobs.ingest.dead_letters import dig_up
from llmobs.ingest.journal import JournalReader, owners
from llmobs.ingest.seal import SealBroken, Sealer
from llmobs.keeping.archive import day_bounds
from llmobs.keeping.person import Person
from llmobs.spans.blocks import make_block, read_block
from llmobs.spans.partitions import existing_days
from llmobs.spans.record import Span

DRAIN_SECONDS = 60.0
PAUSE_SECONDS = 0.1

Connection = psycopg.Connection[Any]
Found = dict[str, int]

# Texts in which the id may stand: table, key, columns, and how the tenant is known.
TEXTS = (
    ("alerts_alert", "id", ("title", "dedupe", "link"), ("body",), "tenant_id = %s"),
    ("tenants_auditentry", "id", ("name",), ("change",), "tenant_id = %s"),
    ("braked_session", "id", ("user_id", "session_id", "told"), (), "tenant_id = %s"),
    ("verification", "verification_id", (), ("report",), "%s > 0"),
)
# Configuration that may name a person: table, what it is, the column.
CONFIGURED = (
    ("budgets_budget", "budget", "scope"),
    ("limits_limit", "limit", "scope"),
    ("alerts_alertrule", "alert rule", "filters"),
)
# Where budgets are kept by value.
VALUES = ("budget_spend", "threshold_event")


class NotErased(Exception):
    """The person cannot be erased now; the message says what to do first."""


def erase(conn: Connection, person: Person) -> Found:
    """Everything in the tables; how much was found in each. `conn` is in autocommit. Raises NotErased."""
    _refuse_configured(conn, person)
    found: Found = {}
    for day in sorted(existing_days(conn)):
        with conn.transaction():
            lock_tenants(conn, [person.tenant_id])
            _add(found, _erase_day(conn, person, day))
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock_shared(%s)", (BUDGETS_LOCK,))
        lock_tenants(conn, [person.tenant_id])
        _add(found, _rename_money(conn, person))
        _add(found, _rename_texts(conn, person))
        _add(found, {"raw_body": raw_bodies.forget_user(conn, person.tenant_id, person.user_id)})
    return found


def _add(found: Found, more: Found) -> None:
    for name, count in more.items():
        if count:
            found[name] = found.get(name, 0) + count


def _refuse_configured(conn: Connection, person: Person) -> None:
    for table, what, column in CONFIGURED:
        row = conn.execute(
            f"SELECT name FROM {table} WHERE tenant_id = %s AND {column} ->> 'user' = %s LIMIT 1",
            (person.tenant_id, person.user_id),
        ).fetchone()
        if row is not None:
            raise NotErased(f"the {what} {row[0]!r} names the person: change or delete it first")


# ---------------------------------------------------------------- spans


def _erase_day(conn: Connection, person: Person, day: date) -> Found:
    start, end = day_bounds(day)
    who = (person.tenant_id, person.user_id)
    traces = [
        row[0]
        for row in conn.execute(
            "SELECT trace_id FROM span WHERE tenant_id = %s AND user_id = %s AND start >= %s AND start < %s UNION "
            "SELECT trace_id FROM trace WHERE tenant_id = %s AND user_id = %s AND day BETWEEN %s AND %s",
            (*who, start, end, *who, day - timedelta(days=1), day + timedelta(days=1)),
        )
    ]
    spans = conn.execute(
        "SELECT trace_id, span_id, start, user_id, session_id, name, status, status_message, attributes, block_id, "
        "block_slot FROM span WHERE tenant_id = %s AND start >= %s AND start < %s AND (user_id = %s "
        "OR (user_id = '' AND trace_id = ANY(%s))) ORDER BY trace_id, span_id",
        (person.tenant_id, start, end, person.user_id, traces),
    ).fetchall()
    changed = [change for row in spans if (change := _erased_span(person, row)) is not None]
    with conn.cursor() as cursor:
        cursor.executemany(
            "UPDATE span SET user_id = %s, session_id = %s, name = %s, status_message = %s, attributes = %s, "
            "preview = '' WHERE tenant_id = %s AND trace_id = %s AND span_id = %s AND start = %s",
            changed,
        )
    keys = [[row[at] for row in spans] for at in range(2)]
    found = {
        "span": sum(row[3] == person.user_id for row in spans),
        "payload_block": _erase_blocks(conn, person, day, spans),
    }
    found["trace"] = _rename_traces(conn, person, "day = %s", (day,))
    found["rollup_user_day"] = conn.execute(
        "UPDATE rollup_user_day SET user_id = %s WHERE tenant_id = %s AND user_id = %s AND day = %s",
        (person.pseudonym, *who, day),
    ).rowcount
    found["security_event"] = conn.execute(
        "UPDATE security_event e SET fingerprint = '' FROM unnest(%s::bytea[], %s::bytea[]) AS k (trace_id, span_id) "
        "WHERE e.tenant_id = %s AND e.trace_id = k.trace_id AND e.span_id = k.span_id AND e.fingerprint <> ''",
        (*keys, person.tenant_id),
    ).rowcount
    found["evals_score"] = conn.execute(
        "UPDATE evals_score SET comment = '', details = '{}' WHERE tenant_id = %s AND trace_id = ANY(%s) "
        "AND (comment <> '' OR details <> '{}')",
        (person.tenant_id, sorted(set(traces) | set(keys[0]))),
    ).rowcount
    if conn.execute("SELECT to_regclass('log_record')").fetchone() != (None,):
        found["log_record"] = conn.execute(
            "DELETE FROM log_record WHERE tenant_id = %s AND trace_id = ANY(%s)",
            (person.tenant_id, sorted(set(keys[0]))),
        ).rowcount
    return found


def _erased_span(person: Person, row: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The values of the row's update: no content, no name."""
    trace_id, span_id, start, user_id, session_id, name, status, message, attributes, *_ = row
    span = Span(person.tenant_id, trace_id, span_id, None, ns_from_utc(start), 0, "", 0)
    span.status, span.status_message, span.attributes = status, message, attributes
    Door({person.tenant_id: NONE}, b"").apply(span)
    return (
        person.pseudonym if user_id == person.user_id else user_id,
        person.rename(session_id),
        person.rename(name),
        person.rename(span.status_message),
        Jsonb(person.rename_json(span.attributes)),
        person.tenant_id, trace_id, span_id, start,
    )  # fmt: skip


def _erase_blocks(conn: Connection, person: Person, day: date, spans: list[tuple[Any, ...]]) -> int:
    """Contents out of their blocks, of which others' stay; how many contents."""
    slots: dict[int, list[int]] = {}
    for *_, block_id, slot in spans:
        if block_id is not None:
            slots.setdefault(block_id, []).append(slot)
    erased = 0
    for block_id, gone in sorted(slots.items()):
        key = (person.tenant_id, block_id, day)
        where = "tenant_id = %s AND block_id = %s AND day = %s"
        row = conn.execute(f"SELECT body FROM payload_block WHERE {where}", key, binary=True).fetchone()
        contents = read_block(row[0]) if row else []
        before = sum(content != (None, None) for content in contents)
        left = [(None, None) if at in gone else content for at, content in enumerate(contents)]
        after = sum(content != (None, None) for content in left)
        erased += before - after
        if row and not after:
            conn.execute(f"DELETE FROM payload_block WHERE {where}", key)
        elif before != after:
            conn.execute(f"UPDATE payload_block SET body = %s WHERE {where}", (make_block(left), *key))
    return erased


def _rename_traces(conn: Connection, person: Person, where: str, values: tuple[Any, ...]) -> int:
    rows = conn.execute(
        f"SELECT trace_id, day, session_id, name FROM trace WHERE tenant_id = %s AND user_id = %s AND {where}",
        (person.tenant_id, person.user_id, *values),
    ).fetchall()
    with conn.cursor() as cursor:
        cursor.executemany(
            "UPDATE trace SET user_id = %s, session_id = %s, name = %s WHERE tenant_id = %s AND trace_id = %s "
            "AND day = %s",
            [
                (person.pseudonym, person.rename(session), person.rename(name), person.tenant_id, trace_id, day)
                for trace_id, day, session, name in rows
            ],
        )
    return len(rows)


# ---------------------------------------------------------------- money and texts


def _rename_money(conn: Connection, person: Person) -> Found:
    who = (person.tenant_id, person.user_id)
    sessions = conn.execute(
        "SELECT DISTINCT session_id FROM bill WHERE tenant_id = %s AND user_id = %s", who
    ).fetchall()
    found: Found = {"bill": 0}
    for (session,) in sessions:
        found["bill"] += conn.execute(
            "UPDATE bill SET user_id = %s, session_id = %s WHERE tenant_id = %s AND user_id = %s AND session_id = %s",
            (person.pseudonym, person.rename(session), *who, session),
        ).rowcount
    found["trace"] = _rename_traces(conn, person, "true", ())
    found["rollup_user_day"] = conn.execute(
        "UPDATE rollup_user_day SET user_id = %s WHERE tenant_id = %s AND user_id = %s", (person.pseudonym, *who)
    ).rowcount
    for table in VALUES:
        values = conn.execute(f"SELECT DISTINCT value FROM {table} WHERE tenant_id = %s", who[:1]).fetchall()
        found[table] = _rename_values(conn, person, f"{table} t", "t.tenant_id = %s", values)
    values = conn.execute(
        "SELECT DISTINCT r.value FROM budgets_raise r JOIN budgets_budget b ON b.id = r.budget_id "
        "WHERE b.tenant_id = %s AND r.value IS NOT NULL",
        who[:1],
    ).fetchall()
    of_tenant = "t.budget_id IN (SELECT id FROM budgets_budget WHERE tenant_id = %s)"
    found["budgets_raise"] = _rename_values(conn, person, "budgets_raise t", of_tenant, values)
    return found


def _rename_values(conn: Connection, person: Person, table: str, where: str, values: list[tuple[Any, ...]]) -> int:
    renamed = 0
    for (value,) in values:
        if (to := person.rename_value(value)) != value:
            renamed += conn.execute(
                f"UPDATE {table} SET value = %s WHERE {where} AND value = %s", (to, person.tenant_id, value)
            ).rowcount
    return renamed


def _rename_texts(conn: Connection, person: Person) -> Found:
    found: Found = {}
    escaped = json.dumps(person.user_id, ensure_ascii=False)[1:-1]
    for table, key, texts, bodies, where in TEXTS:
        columns = (*texts, *bodies)
        anywhere = " OR ".join(f"position(%s IN {name}::text) > 0" for name in columns)
        rows = conn.execute(
            f"SELECT {key}, {', '.join(columns)} FROM {table} WHERE {where} AND ({anywhere})",
            (person.tenant_id, *([person.user_id] * len(texts)), *([escaped] * len(bodies))),
        ).fetchall()
        for row_key, *values in rows:
            new = [person.rename_json(value) for value in values]
            if new == values:
                continue
            stored = [value if at < len(texts) else Jsonb(value) for at, value in enumerate(new)]
            conn.execute(
                f"UPDATE {table} SET {', '.join(f'{name} = %s' for name in columns)} WHERE {key} = %s",
                (*stored, row_key),
            )
            found[table] = found.get(table, 0) + 1
    return found


# ---------------------------------------------------------------- what is not in tables yet


def erase_letters(conn: Connection, person: Person, sealer: Sealer) -> int:
    """Dead letters that name the person are dropped: they were never counted. How many."""
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
        (socket.gethostname(),),
    ).fetchone()
    return str(row[0]) if row else ""
