"""Restore of a backup into a database and a data folder on which nothing runs.

1. The backup is read whole and its digests compared, before anything is touched.
2. The folder is held like `up` holds it; its embedded PostgreSQL is started unless DATABASE_URL names another.
3. Secrets, if a passphrase is given; else those of the folder must be the backup's.
4. Migrations up to where the backup was, the rows in one transaction, then migrations up to today.
5. Who was erased since the backup is erased again (`keeping.erased`): from tables at once, from journals by workers.
6. The ledger in Valkey, where one can be reached, is declared lost: the writer rebuilds it from what is there now.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import redis
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from llmobs.budgets.ledger import EPOCH_KEY
from llmobs.core.env import Place, database_url_from_env, valkey_url_from_env
from llmobs.keeping import erased, refilling, secrets
from llmobs.keeping.backup import Backup, BackupError, Connection, read, was_restored
from llmobs.keeping.connecting import connect
from llmobs.keeping.erasures import ask_again
from llmobs.keeping.place import archive_folder
from llmobs.ops.child import spawn
from llmobs.ops.embedded_postgres import EmbeddedPostgres
from llmobs.ops.platform import take_folder
from llmobs.ops.verify import Report, verify

NO_VALKEY = "redis://127.0.0.1:1/0"  # none runs while an embedded one is down; nothing here needs one


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks for."""

    folder: Path
    passphrase: str = ""
    replace: bool = False
    without_secrets: bool = False
    erased: tuple[Path, ...] = ()  # lists of people erased, of other data folders


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of it."""

    backup: Backup
    rows: int
    segments: int
    lacking: list[str]
    report: Report
    erased_again: int
    not_known: int  # people on the lists whose fingerprints are of another key


@contextmanager
def held(place: Place) -> Iterator[dict[str, str]]:
    """The folder held, and the environment by which a child reaches the database; the embedded one runs meanwhile."""
    with take_folder(place):
        if database_url_from_env():
            yield dict(os.environ)
            return
        postgres = EmbeddedPostgres.of(place)
        postgres.prepare()
        place.logs.mkdir(mode=0o700, exist_ok=True)
        log = place.logs / "postgres.log"
        child = spawn(postgres.command(), log, death_signal=signal.SIGINT)
        try:
            postgres.wait_ready(child, log)
            env = {
                **os.environ,
                "DATABASE_URL": postgres.url(),
                "WEB_DATABASE_URL": postgres.web_url(),
                "VALKEY_URL": valkey_url_from_env() or NO_VALKEY,
            }
            yield env
        finally:
            child.send_signal(signal.SIGINT)
            child.wait(timeout=60)


def run_held(place: Place, arguments: list[str]) -> int:
    """Run the command again as a child that knows the database from its start; its exit status."""
    with held(place) as env:
        env["LLMOBS_DATA"] = str(place.folder)
        command = [sys.executable, "-m", "llmobs.ops", "restore", *arguments, "--held"]
        return subprocess.run(command, env=env, check=False).returncode  # noqa: S603


def restore(place: Place, wishes: Wishes) -> Restored:
    """Put the backup in place of what is there; the folder is held. Raises BackupError, PassphraseWrong."""
    backup = read(wishes.folder)
    with connect() as conn:
        _check_target(conn, wishes)
        if wishes.passphrase:
            secrets.take_over(place, backup, wishes.passphrase)
        lacking = secrets.lacking(place, backup)
        if lacking and not wishes.without_secrets:
            raise BackupError(
                f"by the secrets of {place.folder} nobody can read {' and '.join(lacking)}: give the passphrase, put "
                "the right secrets.json there, or say --without-secrets"
            )
        people = _erased(conn, place, wishes)
        version = refilling.config_version(conn)
        refilling.drop_all(conn)
        _migrate_to(backup)
        rows = refilling.fill(conn, wishes.folder, backup, version)
        call_command("migrate", interactive=False, verbosity=0)
        conn.execute("ANALYZE")
        segments = 0 if lacking else refilling.place_journals(wishes.folder, backup, place)
        again, not_known = _erase_again(conn, place, people, bool(segments))
        _lose_ledger()
        report = verify(conn)
        was_restored(wishes.folder, datetime.now(UTC), len(report.differences))
        return Restored(backup, rows, segments, lacking, report, again, not_known)


def _check_target(conn: Connection, wishes: Wishes) -> None:
    if refilling.is_in_use(conn):
        raise BackupError("a platform works on this database: stop it on every host, wait 15 s, and try again")
    if not wishes.replace and not refilling.is_empty(conn):
        raise BackupError("the database is not empty: --replace puts the backup in place of all that is in it")


def _erased(conn: Connection, place: Place, wishes: Wishes) -> list[erased.Erased]:
    """Whoever was erased here, before what says so is dropped; kept in the folder's own list. Raises OSError."""
    files = [folder / erased.FILE for folder in (place.folder, archive_folder(place))]
    if missing := [file for file in wishes.erased if not file.exists()]:
        raise BackupError(f"there is no list {missing[0]}")
    people = [*erased.read([*files, *wishes.erased]), *erased.of_tables(conn, place.secrets().secret_key)]
    erased.remember([place.folder], people)
    return people


def _erase_again(conn: Connection, place: Place, people: list[erased.Erased], may_come: bool) -> tuple[int, int]:
    """How many were in the backup again; how many nobody can tell."""
    secrets_now = place.secrets()
    key = erased.key_name(secrets_now.secret_key)
    ours = [each for each in people if each.key == key]
    missing = erased.since(ours, erased.of_tables(conn, secrets_now.secret_key))
    asked = ask_again(conn, missing, secrets_now, may_come)
    return sum(bool(erasure.sealed) for erasure in asked), len(people) - len(ours)


def _migrate_to(backup: Backup) -> None:
    """The schema as it was at the backup."""
    executor = MigrationExecutor(connection)
    known = executor.loader.graph.nodes.keys()
    applied = {(app, name) for app, name in backup.migrations}
    if unknown := sorted(applied - set(known)):
        raise BackupError(f"the backup is of a newer llmobs: {'/'.join(unknown[0])} is not known here")
    graph = executor.loader.graph
    leaves = [key for key in sorted(applied) if not any(child in applied for child in graph.node_map[key].children)]
    executor.migrate(leaves)


def _lose_ledger() -> None:
    try:
        with redis.Redis.from_url(
            valkey_url_from_env() or NO_VALKEY, socket_timeout=5, socket_connect_timeout=2
        ) as client:
            client.delete(EPOCH_KEY)
    except redis.RedisError:
        return  # an embedded one starts anew, with an epoch of its own
