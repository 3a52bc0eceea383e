"""Hosts of one platform: who is there, who is silent and with what, and what becomes of one that does not come back.

A host is a data folder with its journals, named by LLMOBS_HOST. What it acknowledged lies in its journals until its
writer has written it; what its calls hold lies in the ledger, under the names of its processes (owners).
1. It comes back: its writer reads on. Nothing is to be done.
2. Its disk is there: `adopt` brings its journals into the folder of a living host, whose writer reads them on from the
   offsets in PostgreSQL. What comes twice is known by its ids, and offsets move by compare and set.
3. Its disk is gone: `lose` gives back what it held and forgets it. Holds that nobody gave back lapse by themselves
   (`budgets.sweep.LAPSE_S`).
Both are told in the audit trail, in the transaction of the change.
"""

import shutil
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg.types.json import Jsonb

from llmobs.budgets import ledger, recovery, sweep
from llmobs.core.env import Place
from llmobs.ingest.journal_folders import is_owner_alive, owners, segments
from llmobs.ingest.journal_reader import JournalReader

SILENT_SECONDS = 60  # a host that was not seen for so long is called silent
ACTOR = "command line"

Connection = psycopg.Connection[Any]


class HostError(Exception):
    """What was asked for a host cannot be; the message says why and what to do."""


@dataclass(slots=True)
class Host:
    """One host as PostgreSQL and the ledger know it."""

    name: str
    owners: set[str] = field(default_factory=set)
    running: dict[str, int] = field(default_factory=dict)  # processes seen lately, by kind
    seen_at: datetime | None = None
    is_silent: bool = True
    waiting_spans: int = 0  # as its writer said last
    marks: str = ""
    skew_ms: int = 0
    holding: int = 0  # attempts of it that hold something in the ledger
    unbilled: int = 0  # attempts that have ended, and whose bill is not written


_HOSTS = """
SELECT host, owner, kind, seen_at, seen_at > now() - make_interval(secs => %s), waiting_spans, secrets, skew_ms
FROM heartbeat
UNION ALL
SELECT host, owner, 'journal', NULL, false, 0, '', 0 FROM journal_offset
"""


def hosts(conn: Connection, client: "redis.Redis | None" = None) -> list[Host]:
    """All hosts by name; without a client of the ledger nothing is said of holds."""
    found: dict[str, Host] = {}
    for name, owner, kind, seen_at, is_seen, waiting, marks, skew_ms in conn.execute(_HOSTS, (SILENT_SECONDS,)):
        host = found.setdefault(name, Host(name))
        host.owners.add(owner)
        if is_seen:
            host.is_silent = False
            host.running[kind] = host.running.get(kind, 0) + 1
        if seen_at is not None:
            host.seen_at = max(seen_at, host.seen_at or seen_at)
        if kind == "writer":
            host.waiting_spans += waiting
            host.marks, host.skew_ms = marks, skew_ms
    if client is not None:
        _count_holds(found, client)
    return sorted(found.values(), key=lambda host: host.name)


def _count_holds(found: dict[str, Host], client: redis.Redis) -> None:
    whose = {owner: host for host in found.values() for owner in host.owners}
    seen: dict[str, set[str]] = defaultdict(set)
    for _, live in sweep.live_attempts(client):
        for attempt in live:
            host = whose.get(attempt.owner)
            if host is None:
                continue
            if attempt.attempt in seen[host.name]:  # of several budgets: counted once
                continue
            seen[host.name].add(attempt.attempt)
            host.holding += attempt.state == ledger.HELD
            host.unbilled += attempt.state == ledger.PENDING


# ---------------------------------------------------------------- its disk is there


def adopt(conn: Connection, place: Place, source: Path, journal_key: bytes, actor: str = ACTOR) -> list[str]:
    """Bring a dead host's journals (its data folder, or its `journal`) to this host's writer; the owners taken over.

    Copied under a hidden name first, so that a writer never reads half of one. May be repeated. Raises HostError.
    """
    journal = source / "journal" if (source / "journal").is_dir() else source
    if journal.resolve() == place.journal.resolve():
        raise HostError(f"{journal} is this host's own: its writer reads it already")
    folders = [folder for folder in owners(journal) if segments(folder)]
    if not folders:
        raise HostError(f"{journal} holds no journals: name the data folder of the host that is gone")
    _refuse_living(conn, folders)
    _refuse_other_keys(folders, journal_key)
    place.journal.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = [folder for folder in folders if not (place.journal / folder.name).exists()]
    if not new:
        return []
    with conn.transaction():
        _tell(conn, actor, "adopt", str(source), {"journals": [None, [folder.name for folder in new]]})
        return [folder.name for folder in new if _take(folder, place.journal)]


def _refuse_living(conn: Connection, folders: list[Path]) -> None:
    names = [folder.name for folder in folders]
    row = conn.execute(
        "SELECT owner, host FROM heartbeat WHERE owner = ANY(%s) AND seen_at > now() - make_interval(secs => %s)",
        (names, SILENT_SECONDS),
    ).fetchone()
    alive = next((folder.name for folder in folders if is_owner_alive(folder)), "")
    if row is not None or alive:
        told = f"{row[0]} of host {row[1]}" if row is not None else alive
        raise HostError(f"{told} is alive: journals of a living host are written by its own writer")


def _refuse_other_keys(folders: list[Path], journal_key: bytes) -> None:
    for folder in folders:
        chunk = JournalReader(folder, journal_key).read(0)
        if chunk.skipped_frames and not chunk.entries:
            raise HostError(
                f"the journals in {folder.parent} are sealed with another key: set LLMOBS_JOURNAL_KEY, or take the "
                "secrets.json of the host that is gone"
            )


def _take(folder: Path, journal: Path) -> bool:
    target, making = journal / folder.name, journal / f".adopting-{folder.name}"
    if target.exists():
        return False
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700)
    for _, path in segments(folder):
        copied = making / path.name
        shutil.copyfile(path, copied)
        copied.chmod(0o600)
    (making / "lock").touch(mode=0o600)
    making.rename(target)
    return True


# ---------------------------------------------------------------- its disk is gone


@dataclass(frozen=True, slots=True)
class Lost:
    """What was given back of a host: attempts that held, and attempts that had ended and that nobody will bill."""

    holding: int
    unbilled: int


def lose(conn: Connection, client: redis.Redis, name: str, actor: str = ACTOR) -> Lost:
    """A host and its disk are gone for good: give back what it holds, and forget it. Raises HostError.

    Its journals may still be adopted later: then its calls are billed as they were.
    """
    host = next((each for each in hosts(conn, client) if each.name == name), None)
    if host is None:
        raise HostError(f"there is no host {name!r}: `manage.py hosts` lists them")
    if not host.is_silent:
        raise HostError(f"{name} is alive (seen within {SILENT_SECONDS} s): end it first")
    epoch = recovery.open_epoch(client)
    if epoch is None:
        raise HostError("the ledger is being rebuilt: try again in a few seconds")
    for owner in sorted(host.owners):
        sweep.release_owner(client, epoch, owner)
    with conn.transaction():
        given_back = {"holding": [host.holding, 0], "unbilled": [host.unbilled, 0]}
        _tell(conn, actor, "lost", name, {"owners": [sorted(host.owners), None], **given_back})
        conn.execute("DELETE FROM heartbeat WHERE owner = ANY(%s)", (list(host.owners),))
        conn.execute("DELETE FROM journal_offset WHERE owner = ANY(%s)", (list(host.owners),))
    return Lost(host.holding, host.unbilled)


# ---------------------------------------------------------------- the audit trail


def _tell(conn: Connection, actor: str, action: str, name: str, change: dict[str, Any]) -> None:
    """An entry of no tenant: hosts are the installation's."""
    conn.execute(
        "INSERT INTO tenants_auditentry (actor, action, kind, name, change, at) VALUES (%s, %s, 'host', %s, %s, now())",
        (actor[:200], action, name[:200], Jsonb(change)),
    )
