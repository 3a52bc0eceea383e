"""A report that kills the writer's process: found out, put aside, and the backlog behind it drains."""

import os
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from llmobs.core.env import Secrets
from llmobs.ingest import groups, writing
from llmobs.ingest.commit import commit_batch
from llmobs.ingest.journal import JournalWriter
from llmobs.ingest.shares import Share
from llmobs.ingest.suspects import CAREFUL_AFTER, DEADLY, MOST_DEATHS, Suspects
from llmobs.ingest.writing import Writer
from tests.ingest.making import begin, end, journal_folder, make_tenant, otlp, sums

KEY = bytes(range(32))
SECRETS = Secrets("secret", (), KEY, "", "", "")
Connection = psycopg.Connection[Any]


class Killed(BaseException):
    """In place of the process's death, which nothing in it could catch either."""


def lives(conn: Connection, client: "redis.Redis", folder: Path) -> bool:
    """A writer's life, from its start until all is written; False: it died."""
    share = Share(folder / "journal")
    try:
        Writer(folder / "journal", SECRETS, conn, client, "", share).drain()
    except Killed:
        for held in share._held.values():  # as the kernel does it
            os.close(held)
        return False
    share.close()
    return True


def test_a_report_that_kills_the_writer_is_put_aside_and_what_came_with_it_is_written(
    pg: Connection, valkey: "redis.Redis", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tenant(pg)
    journal = JournalWriter(journal_folder(tmp_path), KEY)
    begun = begin()
    for entry in (otlp(), begun, otlp(model="deadly"), end(begun), otlp()):
        journal.append(entry)

    def dies(conn: Connection, batch: Any, budgets: Any) -> Any:
        if any(span.request_model == "deadly" for span in batch.spans):
            raise Killed
        return commit_batch(conn, batch, budgets)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "commit_batch", dies)
        lived = [lives(pg, valkey, tmp_path) for _ in range(CAREFUL_AFTER + MOST_DEATHS + 1)]
        assert lived == [False] * (CAREFUL_AFTER + MOST_DEATHS) + [True]
    assert sums(pg).spans == 3
    assert pg.execute("SELECT kind, reason FROM dead_letter").fetchall() == [("OtlpBody", DEADLY)]
    assert list((tmp_path / "journal").glob(".suspects*")) == []
    journal.close()


def test_a_writer_that_dies_of_other_things_buries_nothing(
    pg: Connection, valkey: "redis.Redis", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tenant(pg)
    journal = JournalWriter(journal_folder(tmp_path), KEY)
    for _ in range(3):
        journal.append(otlp())

    def dies(*_: object) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(groups, "_next_group", dies)
        assert [lives(pg, valkey, tmp_path) for _ in range(CAREFUL_AFTER + 1)] == [False] * (CAREFUL_AFTER + 1)
    assert lives(pg, valkey, tmp_path)
    assert (sums(pg).spans, pg.execute("SELECT count(*) FROM dead_letter").fetchone()) == (3, (0,))
    journal.close()


def test_a_full_disk_suspects_nobody_and_ends_nothing(tmp_path: Path) -> None:
    suspects = Suspects(tmp_path / "no such folder" / "suspects")
    suspects.began()
    assert not suspects.is_careful
    suspects.survived()
