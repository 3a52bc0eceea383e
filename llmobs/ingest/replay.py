"""Dead letters replayed: once more the writer's way, one letter per transaction.

The letter is marked in the transaction that writes its spans, so that it is written once, however often and by how
many at a time it is replayed; spans that came another way meanwhile are known by their ids. One that fails again stays
where it is, with the new reason.
"""

from dataclasses import dataclass
from typing import Any

import psycopg

from llmobs.budgets import definition
from llmobs.budgets.ledger import Fold
from llmobs.core.clock import now_ns
from llmobs.core.env import Secrets
from llmobs.ingest.commit import Batch, Committed, commit_batch
from llmobs.ingest.dead_letters import MOST_REASON_CHARACTERS, dig_up
from llmobs.ingest.seal import SealBroken, Sealer
from llmobs.ingest.tails import Found
from llmobs.ingest.translate import Config, Translator, Unreadable
from llmobs.pricing import book
from llmobs.tenants import roster
from llmobs.tenants.config_version import config_version

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one letter. `error` "": it is written (`spans` new ones), or was before (`by_others`)."""

    letter_id: int
    spans: int
    duplicates: int
    error: str
    folds: list[Fold]
    by_others: bool = False  # or dropped: nothing was tried


class Replayer:
    """Replays letters under today's configuration. `conn` is in autocommit."""

    def __init__(self, conn: Connection, secrets: Secrets) -> None:
        self._conn = conn
        self._sealer = Sealer(secrets.journal_key)
        self._config = Config.of(
            config_version(conn), roster.load(conn), book.load(conn), definition.load(conn), secrets
        )

    def replay(self, letter_id: int) -> Replayed:
        """Write one letter. Its folds are the ledger's to learn (`ingest.adjust_ledger.teach`)."""
        try:
            with self._conn.transaction():
                row = self._conn.execute(
                    "SELECT owner, position, entry FROM dead_letter WHERE letter_id = %s AND replayed_at IS NULL "
                    "FOR UPDATE",
                    (letter_id,),
                ).fetchone()
                if row is None:
                    return Replayed(letter_id, 0, 0, "", [], by_others=True)
                done = self._write(*row)
                self._conn.execute(
                    "UPDATE dead_letter SET replayed_at = now(), entry = '' WHERE letter_id = %s", (letter_id,)
                )
                return Replayed(letter_id, done.spans, done.duplicates, "", done.folds)
        except Exception as error:
            # Whatever stopped it: the letter stays. Only a PostgreSQL that is away is the caller's matter.
            if isinstance(error, psycopg.OperationalError) and self._conn.broken:
                raise
            return self._failed(letter_id, error)

    def _write(self, owner: str, position: int, sealed: bytes) -> Committed:
        entry, begin = dig_up(self._sealer, bytes(sealed))
        piece = Translator(self._config).piece(Found(owner, position, entry, begin), now_ns())
        batch = Batch(
            spans=piece.spans,
            holds=piece.holds,
            prices=piece.prices,
            findings=piece.findings,
            braked=piece.braked,
            raw_bodies=piece.raw_bodies,
            log_records=piece.log_records,
        )
        return commit_batch(self._conn, batch, self._config.budgets)

    def _failed(self, letter_id: int, error: Exception) -> Replayed:
        reason = {
            Unreadable: str(error),
            SealBroken: "it is sealed with another journal key, or damaged",
        }.get(type(error), f"it does not decode: {type(error).__name__}")
        if isinstance(error, psycopg.Error):
            reason = f"it cannot be written: {type(error).__name__}"
        self._conn.execute(
            "UPDATE dead_letter SET reason = %s, tries = tries + 1, tried_at = now() WHERE letter_id = %s",
            (reason[:MOST_REASON_CHARACTERS], letter_id),
        )
        return Replayed(letter_id, 0, 0, reason, [])
