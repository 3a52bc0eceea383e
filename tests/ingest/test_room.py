"""Room in the journals: what is written is deleted, so that a full journal and a full disk end by themselves."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from llmobs.core.env import Secrets
from llmobs.ingest import journal as journals
from llmobs.ingest import writing as writers
from llmobs.ingest.journal import JournalFull, JournalWriter
from llmobs.ingest.journal_folders import journal_bytes
from llmobs.ingest.writing import Writer
from tests.ingest.making import journal_folder, make_tenant, otlp, sums
from tests.ingest.test_journal import appended

KEY = bytes(range(32))
SECRETS = Secrets("secret", (), KEY, "", "", "")


def test_a_journal_at_its_bound_drains_and_takes_again(
    pg: "psycopg.Connection[Any]", valkey: "redis.Redis", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written before its owner found no room is deleted too: nothing more is appended behind it."""
    monkeypatch.setattr(journals, "RECHECK_SECONDS", -1.0)
    monkeypatch.setattr(writers, "HEARTBEAT_SECONDS", 0.0)
    make_tenant(pg)
    full = JournalWriter(journal_folder(tmp_path), KEY, most_bytes=2_000)
    taken = appended(full, lambda _: otlp())
    writer = Writer(tmp_path / "journal", SECRETS, pg, valkey)
    writer.drain()
    assert sums(pg).spans == taken
    with pytest.raises(JournalFull):
        full.append(otlp(model="x" * 2_000))
    writer.drain()
    assert journal_bytes(tmp_path / "journal") == 0
    full.append(otlp())
    writer.drain()
    assert sums(pg).spans == taken + 1
    full.close()


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.DiskFull("could not extend file"),
        psycopg.errors.ReadOnlySqlTransaction("cannot execute COPY FROM in a read-only transaction"),
        psycopg.errors.IoError("could not read block"),
        psycopg.errors.InsufficientPrivilege("permission denied for table span"),
        psycopg.errors.UndefinedColumn("column of the next version"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_database_that_cannot_be_written_is_waited_for_and_nothing_is_buried(
    pg: "psycopg.Connection[Any]",
    valkey: "redis.Redis",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: psycopg.Error,
) -> None:
    """Nothing is wrong with what waits: as dead letters it would have to be replayed by hand."""
    make_tenant(pg)
    journal = JournalWriter(journal_folder(tmp_path), KEY)
    journal.append(otlp())

    def cannot(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(writers, "commit_batch", cannot)
        with pytest.raises(type(error)):
            Writer(tmp_path / "journal", SECRETS, pg, valkey).drain()
    Writer(tmp_path / "journal", SECRETS, pg, valkey).drain()
    assert (sums(pg).spans, pg.execute("SELECT count(*) FROM dead_letter").fetchone()) == (1, (0,))
    journal.close()
