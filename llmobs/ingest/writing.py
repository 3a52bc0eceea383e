"""What a writer does, turn by turn; its process is `ingest.writer`.

 1. Read what waits in each of its journals (`ingest.shares`), up to some thousand spans. No timer: a lone span is
    written at once.
 2. Translate: decode, price, apply the content's policy. What cannot be read becomes a dead letter.
 3. `commit_batch`: a transaction per group, offsets with the last. What PostgreSQL refuses is found entry by entry
    and buried.
 4. Fold into the ledger; delete the segments below the low-water mark.
 5. An owner that is dead and read to its end: attempts left open are billed at their hold; its folder goes.
PostgreSQL away: nothing more is read (the journals hold it), tried again with growing pauses, and everything in
memory starts over from the stored offsets, since nobody knows whether the last commit came through. Valkey away:
commits go on. SIGTERM: what is there is written, then it ends.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import redis
import structlog

from llmobs.budgets import definition
from llmobs.budgets.spend import count_new_budgets
from llmobs.core.clock import now_ns
from llmobs.core.env import Secrets, host_name
from llmobs.core.marks import marks
from llmobs.ingest.commit import Batch, Offset, OffsetMoved, commit_batch
from llmobs.ingest.dead_letters import bury
from llmobs.ingest.groups import Group, translated
from llmobs.ingest.journal import REPORTS
from llmobs.ingest.journal_reader import JournalReader
from llmobs.ingest.ledger_keeper import LedgerKeeper
from llmobs.ingest.seal import Sealer
from llmobs.ingest.shares import Journals, Whole
from llmobs.ingest.suspects import DEADLY
from llmobs.ingest.tails import Found, Tail
from llmobs.ingest.translate import Config, Piece, Translator
from llmobs.pricing import book
from llmobs.tenants import roster
from llmobs.tenants.config_version import config_version

MOST_SPANS = 2000  # of one transaction
MOST_ENTRIES = 5000  # read at one turn
MOST_BYTES = 6 * 1024 * 1024  # of journal read at one turn
LEAST_BYTES = 64 * 1024  # of one owner: at least an entry, however long it is
# Between two looks where nothing was found: a hundredth of the time that nothing has come for, within these.
IDLE_SECONDS, MOST_IDLE_SECONDS = 0.01, 0.05
CONFIG_SECONDS = 0.5
HEARTBEAT_SECONDS = 1.0
OWNERS_SECONDS = 0.25
LOOK_FIRST = 50  # batches after one that stored claims had to do with: reports of calls come beside the calls
OFFSETS_SECONDS = 0.5  # where only begins were read

Connection = psycopg.Connection[Any]

log = structlog.get_logger()


class Writer:
    """One writer over journals of a data folder: all of them, or its share.

    `turn` writes what waits; `run` turns until it is told to stop.
    """

    def __init__(
        self,
        journal: Path,
        secrets: Secrets,
        conn: Connection,
        client: redis.Redis,
        owner: str = "",
        journals: Journals | None = None,
    ) -> None:
        self._journals = journals or Whole(journal)
        self._secrets = secrets
        self._conn = conn
        self._host = host_name()
        self.owner = owner or f"writer-{self._host}-{os.getpid()}-{os.urandom(3).hex()}"
        self._marks = marks(secrets)
        self._sealer = Sealer(secrets.journal_key)
        self._keeper = LedgerKeeper(client, self.owner, journal, secrets.journal_key, self._journals.mine_and_free)
        self._tails: dict[str, Tail] = {}
        self._translator = Translator(self._load_config())
        self._look_first = 0
        self._config_at = self._heartbeat_at = self._owners_at = self._offsets_at = 0.0

    # ---- the loop

    def run(self, is_stopping: Callable[[], bool]) -> None:
        """Until told to stop, then until nothing waits. Raises psycopg.OperationalError when PostgreSQL is away."""
        busy_at = time.monotonic()
        while True:
            stopping = is_stopping()
            wrote = self.turn()
            if stopping and not wrote:
                self._forget()
                return
            if wrote:
                busy_at = time.monotonic()
            else:
                time.sleep(min(max((time.monotonic() - busy_at) / 100, IDLE_SECONDS), MOST_IDLE_SECONDS))

    def turn(self) -> int:
        """Write what waits, once; how many entries it was. Raises psycopg.OperationalError."""
        now = time.monotonic()
        self._refresh(now)
        found = self._read()
        abandoned = self._abandon_dead() if not found else []
        if found or abandoned or self._is_offset_due(now):
            self._offsets_at = now + OFFSETS_SECONDS
            self._write(found + abandoned)
        self._keeper.keep(self._conn, self._translator.config.budgets)
        self._bury_owners()
        return len(found) + len(abandoned)

    def drain(self) -> None:
        """Turn until nothing waits (for tests and for the end)."""
        while self.turn():
            pass

    def _is_offset_due(self, now: float) -> bool:
        """Begins alone move the offset without a haste: read again after a crash, they do no harm."""
        moved = [tail for tail in self._tails.values() if tail.has_moved]
        return bool(moved) and (now >= self._offsets_at or any(tail.found_dead for tail in moved))

    # ---- reading

    def _read(self) -> list[Found]:
        """From each owner in turn; who is not reached is the first at the next one. If nothing is found, all were."""
        found: list[Found] = []
        room = MOST_BYTES
        for owner in list(self._tails):
            if found and (room <= 0 or len(found) >= MOST_ENTRIES):
                break
            tail = self._tails[owner] = self._tails.pop(owner)
            before = tail.read_to
            found += tail.read(max(room, LEAST_BYTES))
            room -= tail.read_to - before
            if tail.skipped_frames:
                log.error("damaged journal entries passed over", owner=tail.owner, frames=tail.skipped_frames)
                tail.skipped_frames = 0
        return found

    def _abandon_dead(self) -> list[Found]:
        """Nothing new was read: what dead owners left open was abandoned."""
        return [found for tail in self._tails.values() if tail.found_dead for found in tail.abandon()]

    def _bury_owners(self) -> None:
        """Dead owners whose journals are written to the end."""
        for tail in [t for t in self._tails.values() if t.found_dead and not t.open and not t.has_moved]:
            if tail.reader.read(tail.read_to).entries or not self._keeper.is_released(tail.owner):
                continue
            if not tail.reader.delete_folder():
                continue
            self._conn.execute("DELETE FROM journal_offset WHERE owner = %s", (tail.owner,))
            # Without a folder nothing tells that it is dead: a recovery would wait for it.
            self._conn.execute("DELETE FROM heartbeat WHERE owner = %s", (tail.owner,))
            del self._tails[tail.owner]
            log.info("journal of a dead owner written to its end", owner=tail.owner)

    # ---- writing

    def _write(self, found: list[Found]) -> None:
        """Group by group; the journals' offsets go with the last. Before it, a crash has the groups come again."""
        offsets = [tail.offset() for tail in self._tails.values() if tail.has_moved]
        careful = {owner for owner in self._tails if self._journals.suspects(owner).is_careful}
        if careful:
            found = self._carefully(found, careful)
        try:
            for group in translated(self._translator, found, MOST_SPANS):
                self._write_group(group, offsets if group.is_last else [])
                del group  # before the next is made: one at a time is in memory
        except OffsetMoved as moved:
            log.warning("journals read again", reason=str(moved))
            self._tails.clear()
            self._owners_at = 0.0
            return
        for tail in self._tails.values():
            if tail.has_moved:
                tail.was_committed()
                tail.reader.delete_below(tail.low_water)
                self._journals.suspects(tail.owner).survived()

    def _carefully(self, found: list[Found], careful: set[str]) -> list[Found]:
        """Each report of these journals alone, by whichever a writer before this one may have died; gives the rest."""
        rest = []
        for each in found:
            if each.owner not in careful or type(each.entry) not in REPORTS:
                rest.append(each)
            elif (suspects := self._journals.suspects(each.owner)).is_deadly(each):
                self._bury(each, DEADLY)
            else:
                suspects.trying(each)
                for group in translated(self._translator, [each], MOST_SPANS):
                    self._write_group(group, [])
        return rest

    def _write_group(self, group: Group, offsets: list[Offset]) -> None:
        for found, reason in group.unreadable:
            self._bury(found, reason)
        try:
            self._commit(_batch(group.pieces, offsets))
        except (psycopg.Error, ValueError, TypeError, OverflowError) as error:
            if not _is_refusal(error):
                raise
            self._write_one_by_one(group.pieces, offsets)

    def _commit(self, batch: Batch) -> None:
        batch.looks_first = self._look_first > 0
        committed = commit_batch(self._conn, batch, self._translator.config.budgets)
        self._look_first = max(0, self._look_first - 1) if committed.is_ahead else LOOK_FIRST
        self._translator.were_kept(batch.prices)
        self._keeper.add(committed.folds)
        if committed.duplicates:
            log.info("spans seen before", duplicates=committed.duplicates, spans=committed.spans)

    def _write_one_by_one(self, pieces: list[Piece], offsets: list[Offset]) -> None:
        """Something in the batch is refused: each entry alone, those that are refused again are buried."""
        for piece in pieces:
            try:
                self._commit(_batch([piece], []))
            except (psycopg.Error, ValueError, TypeError, OverflowError) as error:
                if not _is_refusal(error):
                    raise
                self._bury(piece.found, f"it cannot be written: {type(error).__name__}")
        self._commit(_batch([], offsets))

    def _bury(self, found: Found, reason: str) -> None:
        log.error("dead letter", owner=found.owner, position=found.position, reason=reason)
        bury(self._conn, self._sealer, found, reason)

    # ---- now and then

    def _delete_written(self) -> None:
        """Segments that their owners left after all of them was written: for want of room, then nothing is appended."""
        for tail in self._tails.values():
            if tail.committed is not None and not tail.has_moved:
                tail.reader.delete_below(tail.low_water)

    def _refresh(self, now: float) -> None:
        if now >= self._owners_at:
            self._owners_at = now + OWNERS_SECONDS
            self._find_owners()
        if now >= self._config_at:
            self._config_at = now + CONFIG_SECONDS
            if config_version(self._conn) != self._translator.config.version:
                self._translator.config = self._load_config()
            self._count_new_budgets()
        if now >= self._heartbeat_at:
            self._heartbeat_at = now + HEARTBEAT_SECONDS
            self._beat()
            self._delete_written()

    def _find_owners(self) -> None:
        """Take up journals that are ours by now, and leave those that no longer are: all that was read is written, or
        is only begins, which whoever has them next reads again.
        """
        mine = self._journals.mine()
        names = {folder.name for folder in mine}
        self._tails = {owner: tail for owner, tail in self._tails.items() if owner in names}
        for folder in (folder for folder in mine if folder.name not in self._tails):
            stored = self._conn.execute(
                "SELECT low_water, committed FROM journal_offset WHERE owner = %s", (folder.name,)
            ).fetchone()
            reader = JournalReader(folder, self._secrets.journal_key)
            self._tails[folder.name] = Tail.resume(reader, self._host, stored)
            if stored is not None:
                self._keeper.took_over()

    def _load_config(self) -> Config:
        # The version is read first: what changes meanwhile is loaded again.
        version = config_version(self._conn)
        return Config.of(
            version, roster.load(self._conn), book.load(self._conn), definition.load(self._conn), self._secrets
        )

    def _count_new_budgets(self) -> None:
        with self._conn.transaction():
            folds = count_new_budgets(self._conn, now_ns())
        if folds:
            self._keeper.add(folds)
            self._translator.config = self._load_config()

    def _beat(self) -> None:
        waiting = sum(tail.waiting_bytes() for tail in self._tails.values())
        self._conn.execute(
            "INSERT INTO heartbeat (owner, kind, host, pid, config_version, waiting_spans, secrets, skew_ms) "
            "VALUES (%s, 'writer', %s, %s, %s, %s, %s, %s - extract(epoch FROM clock_timestamp()) * 1000) "
            "ON CONFLICT (owner) DO UPDATE SET "
            "host = excluded.host, pid = excluded.pid, config_version = excluded.config_version, "
            "waiting_spans = excluded.waiting_spans, secrets = excluded.secrets, skew_ms = excluded.skew_ms, "
            "seen_at = now()",
            # Nobody has counted what waits: bytes by the size of a middling span, and never 0 while any wait.
            (
                self.owner,
                self._host,
                os.getpid(),
                self._translator.config.version,
                -(-waiting // 2000),
                self._marks,
                now_ns() // 1_000_000,
            ),
        )

    def _forget(self) -> None:
        self._conn.execute("DELETE FROM heartbeat WHERE owner = %s", (self.owner,))


def _batch(pieces: list[Piece], offsets: list[Offset]) -> Batch:
    batch = Batch(offsets=offsets)
    for piece in pieces:
        batch.spans += piece.spans
        batch.holds |= piece.holds
        batch.prices += piece.prices
        batch.findings += piece.findings
        batch.braked += piece.braked
        batch.raw_bodies += piece.raw_bodies
        batch.log_records += piece.log_records
    return batch


def _is_refusal(error: Exception) -> bool:
    """Something in this data is refused (an index row too long, say). Else PostgreSQL is away, full, going down, cannot
    be written, or has other tables than we know: nothing is wrong with what waits.
    """
    if isinstance(error, psycopg.errors.ProgramLimitExceeded):
        return True
    if isinstance(error, psycopg.ProgrammingError):
        return error.sqlstate is None  # psycopg's own: it cannot be sent
    return not isinstance(error, psycopg.OperationalError | psycopg.errors.ReadOnlySqlTransaction)
