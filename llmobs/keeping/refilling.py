"""A backup's tables and journals back in place, in one transaction; who migrates is the command (`restore`)."""

from datetime import date
from pathlib import Path

import zstandard
from psycopg import sql

from llmobs.core.env import Place
from llmobs.keeping.backup import LEFT_OUT, Backup, BackupError, Connection, table_names
from llmobs.spans.partitions import make_partitions

SEEN_SECONDS = 15  # a process that beat within these is alive


def is_empty(conn: Connection) -> bool:
    """Whether nobody has worked in the database: no tables, or no tenant and no span."""
    names = set(table_names(conn))
    return not any(
        conn.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(name))).fetchone()
        for name in ("tenants_tenant", "span", "bill")
        if name in names
    )


def is_in_use(conn: Connection) -> bool:
    """Whether a platform works on it now, here or on another host."""
    if "heartbeat" not in table_names(conn):
        return False
    query = "SELECT 1 FROM heartbeat WHERE seen_at > now() - %s * interval '1 second' LIMIT 1"
    return conn.execute(query, (SEEN_SECONDS,)).fetchone() is not None


def config_version(conn: Connection) -> int:
    """The configuration's version now; 0: there is none."""
    if "config_version" not in table_names(conn):
        return 0
    row = conn.execute("SELECT version FROM config_version").fetchone()
    return int(row[0]) if row else 0


def drop_all(conn: Connection) -> None:
    """Drop our tables and functions; what belongs to extensions stays."""
    with conn.transaction():
        for name in table_names(conn):
            conn.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(sql.Identifier(name)))
        functions = conn.execute(
            "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace "
            "AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"
        ).fetchall()
        for (signature,) in functions:
            conn.execute(sql.SQL("DROP FUNCTION IF EXISTS {} CASCADE").format(sql.SQL(signature)))


def fill(conn: Connection, folder: Path, backup: Backup, after_version: int) -> int:
    """Replace the rows of all tables by the backup's, at its own schema; how many. All or nothing.

    The configuration's version becomes one that no gateway has seen, so that each loads it anew.
    """
    with conn.transaction():
        missing = sorted(backup.tables.keys() - set(table_names(conn)))
        if missing:
            raise BackupError(f"there is no table {', '.join(missing[:5])}: its migrations are not here")
        make_partitions(conn, {date.fromisoformat(day) for days in backup.days.values() for day in days})
        names = sql.SQL(", ").join(sql.Identifier(name) for name in table_names(conn) if name not in LEFT_OUT)
        conn.execute(sql.SQL("TRUNCATE {} CASCADE").format(names))
        conn.execute("SET CONSTRAINTS ALL DEFERRED")
        _triggers(conn, backup, "DISABLE")
        rows = 0
        for name in _in_order(conn, list(backup.tables)):
            rows += _fill(conn, folder, backup, name)
        for name, value in backup.sequences.items():
            conn.execute("SELECT setval(%s::regclass, %s)", (name, value))
        conn.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a table with checks to come cannot be altered
        _triggers(conn, backup, "ENABLE")
        conn.execute("UPDATE config_version SET version = GREATEST(version, %s) + 1", (after_version,))
        return rows


def _fill(conn: Connection, folder: Path, backup: Backup, name: str) -> int:
    part = backup.tables[name]
    table = sql.Identifier(name)
    listed = sql.SQL(", ").join(map(sql.Identifier, part.columns))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(table, listed)
    unpacking = zstandard.ZstdDecompressor()
    with conn.cursor() as cursor:
        with (
            (folder / part.file).open("rb") as file,
            unpacking.stream_reader(file) as plain,
            cursor.copy(statement) as copy,
        ):
            while block := plain.read(1024 * 1024):
                copy.write(block)
        rows = cursor.rowcount
    if rows != part.rows:
        raise BackupError(f"{name}: {rows} rows came of {part.rows}")
    return rows


def _triggers(conn: Connection, backup: Backup, how: str) -> None:
    """Ours would change what comes: revisions of budgets, the configuration's version."""
    for name in backup.tables:
        conn.execute(sql.SQL("ALTER TABLE {} " + how + " TRIGGER USER").format(sql.Identifier(name)))


def _in_order(conn: Connection, names: list[str]) -> list[str]:
    """What others point at first, where the pointing is checked at once."""
    needs: dict[str, set[str]] = {name: set() for name in names}
    for name, needed in conn.execute(
        "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint "
        "WHERE contype = 'f' AND NOT condeferrable AND conrelid <> confrelid"
    ):
        if name in needs and needed in needs:
            needs[name].add(needed)
    ordered: list[str] = []
    while needs:
        ready = sorted(name for name, needed in needs.items() if not needed - set(ordered))
        if not ready:
            raise BackupError(f"tables that need each other: {', '.join(sorted(needs))}")
        ordered += ready
        for name in ready:
            del needs[name]
    return ordered


def place_journals(folder: Path, backup: Backup, place: Place) -> int:
    """The journals' segments that are not here; how many. A writer reads them on from the restored offsets."""
    placed = 0
    for part in backup.journals:
        path = place.folder / part.file
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (path.parent / "lock").touch(mode=0o600)  # nobody holds it: the owner counts as dead
        if not path.exists():
            path.write_bytes((folder / part.file).read_bytes())
            path.chmod(0o600)
            placed += 1
    return placed


def has_journals(place: Place) -> bool:
    """Whether the data folder holds entries that may not be written yet."""
    return any(path.stat().st_size for path in place.journal.glob("*/*.seg"))
