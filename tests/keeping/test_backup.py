"""The drill: traffic, a backup, more traffic, everything gone, a restore, and all adds up as of the backup."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from llmobs.budgets.ledger import EPOCH_KEY, budget_key, parse_status, status
from llmobs.budgets.valkey import run as run_in_valkey
from llmobs.core.env import Place
from llmobs.ingest.journal import JournalWriter
from llmobs.ingest.writing import Writer
from llmobs.keeping import erased
from llmobs.keeping.backup import LEFT_OUT, BackupError, back_up, read
from llmobs.keeping.erased import Erased, key_name
from llmobs.keeping.passphrase import PassphraseWrong, seal, unseal
from llmobs.keeping.proof import fingerprint
from llmobs.keeping.secrets import lacking
from llmobs.ops.verify import verify
from llmobs.providers.credentials import open_credential
from llmobs.providers.credentials import seal as seal_credential
from llmobs.providers.models import Provider
from llmobs.rollups.compact import compact_all
from llmobs.tenants.walls import gaps
from tests.budgets.made import make_budget
from tests.ingest.making import begin, end, make_tenant, otlp, sums
from tests.stores import Stores

Connection = psycopg.Connection[Any]
ROOT = Path(__file__).parents[2]
PASSPHRASE = "correct horse battery staple"
SPEND = "SELECT budget_id, value, window_start, spent FROM budget_spend ORDER BY 1, 2, 3"


@dataclass
class Drill:
    """A platform's data folder with its journal, and a second, empty one with its own database."""

    pg: Connection
    place: Place
    other: Place
    other_url: str
    valkey: "redis.Redis"

    def traffic(self, journal: JournalWriter, calls: int) -> None:
        for _ in range(calls):
            begun = begin()
            journal.append(begun)
            journal.append(end(begun))
            journal.append(otlp(count=2))

    def writer(self, place: Place, conn: Connection) -> Writer:
        return Writer(place.journal, place.secrets(), conn, self.valkey)

    def restore(self, folder: Path, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        given = {**os.environ, "LLMOBS_DATA": str(self.other.folder), "DATABASE_URL": self.other_url, **env}
        given["DJANGO_SETTINGS_MODULE"] = "llmobs.settings"
        command = [sys.executable, "manage.py", "restore", str(folder), *arguments]
        return subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=False)


@pytest.fixture
def drill(pg: Connection, valkey: "redis.Redis", stores: Stores, tmp_path: Path) -> Iterator[Drill]:
    name = "llmobs_drill"
    pg.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    pg.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    place, other = Place(tmp_path / "one"), Place(tmp_path / "two")
    make_tenant(pg)
    yield Drill(pg, place, other, stores.postgres.url(name), valkey)
    pg.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def journal(drill: Drill) -> Iterator[JournalWriter]:
    key = drill.place.secrets().journal_key
    writer = JournalWriter(drill.place.journal / "gateway-1", key)
    yield writer
    writer.close()


def test_the_drill(drill: Drill, journal: JournalWriter, tmp_path: Path) -> None:
    pg = drill.pg
    budget_id = make_budget(pg, 1, scope='{"user": "*"}', window="total")
    sealed = seal_credential("sk-very-secret", drill.place.secrets().encryption_keys)
    Provider.objects.create(name="sealed", dialect="openai", base_url="https://example.com", credential=sealed)
    drill.traffic(journal, 5)
    drill.writer(drill.place, pg).drain()
    compact_all(pg)
    before, spend = sums(pg), pg.execute(SPEND).fetchall()
    assert spend[0][3] > 0
    drill.traffic(journal, 1)  # acknowledged, and not written when the backup is made
    made = back_up(pg, drill.place, tmp_path / "backup", PASSPHRASE)
    drill.traffic(journal, 3)
    drill.writer(drill.place, pg).drain()
    assert sums(pg).spans > before.spans
    drill.valkey.flushall()
    drill.valkey.set(EPOCH_KEY, "open an-epoch:of-another-life")

    with psycopg.connect(drill.other_url, autocommit=True) as conn:
        conn.execute("CREATE TABLE tenants_tenant AS SELECT 1 AS id")
    refused = drill.restore(tmp_path / "backup", LLMOBS_BACKUP_PASSPHRASE=PASSPHRASE)
    assert "not empty: --replace" in refused.stderr
    done = drill.restore(tmp_path / "backup", "--replace", LLMOBS_BACKUP_PASSPHRASE=PASSPHRASE)

    assert done.returncode == 0, done.stderr
    assert "0 differences" in done.stdout
    assert made.rows > 0
    with psycopg.connect(drill.other_url, autocommit=True) as conn:
        assert sums(conn) == before
        assert conn.execute(SPEND).fetchall() == spend
        keys = drill.other.secrets().encryption_keys
        row = conn.execute("SELECT credential FROM providers_provider WHERE name = 'sealed'").fetchone()
        assert row is not None
        assert open_credential(row[0], keys) == "sk-very-secret"
        assert drill.valkey.get(EPOCH_KEY) is None
        drill.writer(drill.other, conn).drain()
        after = sums(conn)
        assert (after.spans, after.bills) == (before.spans + 3, before.bills + 3)
        assert verify(conn, drill.valkey).differences == []
        window_start, spent = conn.execute(
            "SELECT window_start, spent FROM budget_spend WHERE value = 'user-1'"
        ).fetchall()[0]
        assert spent > next(row[3] for row in spend if row[1] == "user-1")
        key = budget_key(1, budget_id, 1, int(window_start.timestamp()), "user-1")
        standing = parse_status(run_in_valkey(drill.valkey, status([key])))
        assert isinstance(standing, list)
        assert (standing[0].base, standing[0].pending, standing[0].held) == (spent, 0, 0)
        drill.writer(drill.other, conn).drain()
        assert sums(conn) == after
        # Ids go on where they were, and configuration is one that no gateway has seen.
        conn.execute("INSERT INTO auth_group (name) VALUES ('new')")
        versions = [each.execute("SELECT version FROM config_version").fetchall()[0][0] for each in (conn, pg)]
        assert versions[0] > versions[1]
    web = conninfo_to_dict(os.environ["WEB_DATABASE_URL"])
    with psycopg.connect(drill.other_url, user=web["user"], password=web["password"]) as conn:  # behind its wall again
        assert gaps(conn) == []
        assert conn.execute("SELECT count(*) FROM span").fetchone() == (0,)
        conn.execute("SELECT set_config('llmobs.tenants', '1', true)")
        assert conn.execute("SELECT count(*) FROM span").fetchone() == (after.spans,)


def test_a_restore_refuses_a_database_in_use_and_secrets_that_do_not_fit(drill: Drill, tmp_path: Path) -> None:
    back_up(drill.pg, drill.place, tmp_path / "backup", "")
    refused = drill.restore(tmp_path / "backup")
    assert refused.returncode == 1
    assert "--without-secrets" in refused.stderr
    with psycopg.connect(drill.other_url, autocommit=True) as conn:
        conn.execute("CREATE TABLE heartbeat AS SELECT now() + interval '1 hour' AS seen_at")
    refused = drill.restore(tmp_path / "backup", "--without-secrets", "--replace")
    assert "works on this database" in refused.stderr
    assert lacking(drill.place, read(tmp_path / "backup")) == []
    assert len(lacking(drill.other, read(tmp_path / "backup"))) == 2


def test_a_damaged_or_unfinished_backup_is_refused(drill: Drill, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    back_up(drill.pg, drill.place, folder, "")
    assert read(folder).tables.keys() == {*read(folder).tables} - LEFT_OUT
    assert (folder.stat().st_mode & 0o777, (folder / "backup.json").stat().st_mode & 0o777) == (0o700, 0o600)
    with pytest.raises(BackupError, match="not empty"):
        back_up(drill.pg, drill.place, folder, "")
    table = folder / "tables" / "tenants_tenant.copy.zst"
    table.write_bytes(table.read_bytes()[:-1])
    with pytest.raises(BackupError, match=r"tenants_tenant.*damaged"):
        read(folder)
    (folder / "backup.json").unlink()
    with pytest.raises(BackupError, match="no backup that was finished"):
        read(folder)


def test_secrets_are_sealed_by_the_passphrase_alone(drill: Drill, tmp_path: Path) -> None:
    back_up(drill.pg, drill.place, tmp_path / "backup", PASSPHRASE)
    text = (tmp_path / "backup" / "backup.json").read_text()
    secrets = drill.place.secrets()
    assert not [word for word in (secrets.secret_key, *secrets.encryption_keys, PASSPHRASE) if word in text]
    done = drill.restore(tmp_path / "backup", LLMOBS_BACKUP_PASSPHRASE="another passphrase")
    assert "not the one" in done.stderr
    with pytest.raises(PassphraseWrong):
        unseal(seal(b"x", PASSPHRASE), PASSPHRASE + "!")


def test_who_was_erased_since_the_backup_is_erased_again(drill: Drill, journal: JournalWriter, tmp_path: Path) -> None:
    drill.traffic(journal, 2)
    drill.writer(drill.place, drill.pg).drain()
    drill.traffic(journal, 1)  # hers too, not written when the backup is made
    back_up(drill.pg, drill.place, tmp_path / "backup", PASSPHRASE)
    before = sums(drill.pg)
    key = drill.place.secrets().secret_key
    at = "2999-01-01T00:00:00+00:00"
    people = [Erased("tenant-1", fingerprint(key, 1, name), at, key_name(key)) for name in ("user-1", "nobody")]
    erased.remember([drill.place.folder], [*people, Erased("tenant-1", "ff", at, "another")])
    done = drill.restore(
        tmp_path / "backup", "--erased", str(drill.place.folder / erased.FILE), LLMOBS_BACKUP_PASSPHRASE=PASSPHRASE
    )
    assert done.returncode == 0, done.stderr
    assert "1 people who were erased since are erased again" in done.stdout
    assert "1 on the lists were erased under another key" in done.stdout
    with psycopg.connect(drill.other_url, autocommit=True) as conn:
        after = sums(conn)
        assert (after.bills, after.billed_nanousd, after.spans) == (before.bills, before.billed_nanousd, before.spans)
        assert "user-1" not in after.users
        assert conn.execute("SELECT count(*) FROM span WHERE user_id = 'user-1'").fetchall() == [(0,)]
        # Workers do the rest, once the journals are written: one of whom only the fingerprint is known, too.
        rows = conn.execute("SELECT sealed <> '', finished_at, asked_by FROM erasure ORDER BY id").fetchall()
        assert rows == [(True, None, "restore"), (False, None, "restore")]
    assert [each.fingerprint for each in erased.read([drill.other.folder / erased.FILE])][:2] == [
        each.fingerprint for each in people
    ]
