"""A backup: every table as of one moment, the journals that were not written then, and the secrets if asked.

1. Every segment of this host's journals is opened: from now on the writer may delete them, we still read them.
2. One repeatable read: tables (COPY, zstd), the days that have partitions, sequences, migrations.
3. Segments that came meanwhile are opened too, then all are copied. What lies below the offsets of step 2 is in the
   tables, the rest is read by a writer after the restore: nothing twice, nothing lost.
4. Secrets sealed by a passphrase, or only their fingerprints: without them provider credentials in the tables and
   the journals' entries cannot be read by anyone.
5. `backup.json` with counts and digests comes last: a folder without it is no backup.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import psycopg
import zstandard
from psycopg import IsolationLevel, sql

from llmobs.core.env import Place, Secrets, replace_file
from llmobs.ingest.journal_folders import owners, segments
from llmobs.keeping.passphrase import fingerprint, seal
from llmobs.spans.partitions import DAY_TABLES, existing_days

NAME = "backup.json"
LAST = "last_backup.json"  # in the data folder: for `doctor`
DRILL = "drill.json"  # in a backup that was restored: when, and what `verify` found then
MOST_FOLDERS = 30  # of which `doctor` asks whether one was restored
VERSION = 1
LEVEL = 6
# Of living processes and of people signed in: nothing of it is true after a restore.
LEFT_OUT = {"heartbeat", "django_session", "django_migrations"}

Connection = psycopg.Connection[Any]


class BackupError(Exception):
    """The backup cannot be made, or is not one that can be restored; the message says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the backup."""

    file: str
    rows: int
    sha256: str
    columns: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Backup:
    """What `backup.json` says."""

    at: str
    tables: dict[str, Part]
    days: dict[str, list[str]]
    sequences: dict[str, int]
    migrations: list[list[str]]
    journals: list[Part]
    secrets: dict[str, Any]
    version: int = VERSION

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.tables.values())


def back_up(conn: Connection, place: Place, folder: Path, passphrase: str) -> Backup:
    """Write a backup into a folder that is empty or not there. `conn` is in autocommit. Raises BackupError."""
    if folder.exists() and any(folder.iterdir()):
        raise BackupError(f"{folder} is not empty: each backup has a folder of its own")
    (folder / "tables").mkdir(mode=0o700, parents=True)
    folder.chmod(0o700)
    opened: dict[tuple[str, str], IO[bytes]] = {}
    try:
        _open_segments(place.journal, opened)
        before = conn.isolation_level
        conn.isolation_level = IsolationLevel.REPEATABLE_READ
        try:
            with conn.transaction():
                conn.execute("SET LOCAL TIME ZONE 'UTC'")
                found = _tables(conn, folder)
                _open_segments(place.journal, opened)
        finally:
            conn.isolation_level = before
        found.journals = [_copy_segment(folder, *name, file) for name, file in sorted(opened.items())]
    finally:
        for file in opened.values():
            file.close()
    found.secrets = _secrets(place.secrets(), passphrase)
    replace_file(folder / NAME, json.dumps(asdict(found), indent=1).encode())
    _tell(place, found, folder, bool(passphrase))
    return found


def _tell(place: Place, made: Backup, folder: Path, has_secrets: bool) -> None:
    """For `doctor`: the last backup, and where the ones before it are."""
    try:
        before = json.loads((place.folder / LAST).read_bytes()).get("folders", [])
    except (OSError, ValueError, AttributeError):
        before = []
    folders = [str(folder), *(each for each in before if each != str(folder))][:MOST_FOLDERS]
    told = {"at": made.at, "folder": str(folder), "rows": made.rows, "has_secrets": has_secrets, "folders": folders}
    replace_file(place.folder / LAST, json.dumps(told).encode())


def was_restored(folder: Path, at: datetime, differences: int) -> None:
    """Say in the backup that it was restored; one that cannot be written to stays as it is."""
    with suppress(OSError):
        replace_file(folder / DRILL, json.dumps({"at": at.isoformat(), "differences": differences}).encode())


def read(folder: Path) -> Backup:
    """A backup whose every file is what it was. Raises BackupError."""
    try:
        found = json.loads((folder / NAME).read_bytes())
        tables = {name: Part(**part) for name, part in found.pop("tables").items()}
        journals = [Part(**part) for part in found.pop("journals")]
        backup = Backup(tables=tables, journals=journals, **found)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BackupError(f"{folder} is no backup that was finished: {type(error).__name__} at {NAME}") from None
    if backup.version != VERSION:
        raise BackupError(f"{folder} is of version {backup.version}; this llmobs reads version {VERSION}")
    for part in [*tables.values(), *journals]:
        path = folder / part.file
        if not path.exists() or _digest(path) != part.sha256:
            raise BackupError(f"{path} is missing or damaged")
    return backup


def table_names(conn: Connection) -> list[str]:
    """Our tables, partitions left out."""
    return [
        str(name)
        for (name,) in conn.execute(
            "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace "
            "AND c.relkind IN ('r', 'p') AND NOT c.relispartition "
            "AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') ORDER BY 1"
        )
    ]


def _tables(conn: Connection, folder: Path) -> Backup:
    names = [name for name in table_names(conn) if name not in LEFT_OUT]
    tables = {name: _copy_table(conn, folder, name) for name in names}
    sequences = conn.execute(
        "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL"
    ).fetchall()
    migrations = conn.execute("SELECT app, name FROM django_migrations ORDER BY id").fetchall()
    return Backup(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        tables=tables,
        days={name: sorted(map(str, existing_days(conn, name))) for name in DAY_TABLES},
        sequences={str(name): int(value) for name, value in sequences},
        migrations=[[str(app), str(name)] for app, name in migrations],
        journals=[],
        secrets={},
    )


def _copy_table(conn: Connection, folder: Path, name: str) -> Part:
    columns = [
        str(column)
        for (column,) in conn.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped "
            "AND attgenerated = '' ORDER BY attnum",
            (name,),
        )
    ]
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    # Of a partitioned table only a query can be copied.
    query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT BINARY)").format(listed, sql.Identifier(name))
    path = folder / "tables" / f"{name}.copy.zst"
    with conn.cursor() as cursor:
        packing = zstandard.ZstdCompressor(level=LEVEL)
        with _writing(path) as file, packing.stream_writer(file) as out, cursor.copy(query) as copy:
            for block in copy:
                out.write(block)
        rows = cursor.rowcount
    return Part(str(path.relative_to(folder)), rows, _digest(path), columns)


def _open_segments(journal: Path, opened: dict[tuple[str, str], IO[bytes]]) -> None:
    for owner in owners(journal):
        for _, path in segments(owner):
            if (owner.name, path.name) not in opened:
                try:
                    opened[owner.name, path.name] = path.open("rb")
                except FileNotFoundError:  # written and deleted since the folder was listed
                    continue


def _copy_segment(folder: Path, owner: str, name: str, file: IO[bytes]) -> Part:
    path = folder / "journal" / owner / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _writing(path) as out:
        while block := file.read(1024 * 1024):
            out.write(block)
    return Part(str(path.relative_to(folder)), 0, _digest(path))


def _writing(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _digest(path: Path) -> str:
    found = sha256()
    for block in _blocks(path):
        found.update(block)
    return found.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(1024 * 1024):
            yield block


def _secrets(secrets: Secrets, passphrase: str) -> dict[str, Any]:
    kept = {
        "secret_key": secrets.secret_key,
        "encryption_keys": list(secrets.encryption_keys),
        "journal_key": secrets.journal_key.hex(),
    }
    prints = {
        "encryption_key": fingerprint("".join(secrets.encryption_keys).encode()),
        "journal_key": fingerprint(secrets.journal_key),
    }
    if not passphrase:
        return {"fingerprints": prints, "sealed": None}
    return {"fingerprints": prints, "sealed": seal(json.dumps(kept).encode(), passphrase)}
