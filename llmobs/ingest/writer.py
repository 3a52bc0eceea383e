"""The writer: the only process that writes spans (`python -m llmobs.ingest.writer`), one per host.

 1. Read what waits in each owner's journal, up to some thousand spans. No timer: a lone span is written at once.
 2. Translate: decode, price, apply the content's policy. What cannot be read becomes a dead letter.
 3. `commit_batch`: a transaction per group, offsets with the last. What PostgreSQL refuses is found entry by entry
    and buried.
 4. Fold into the ledger; delete the segments below the low-water mark.
 5. An owner that is dead and read to its end: attempts left open are billed at their hold; its folder goes.
PostgreSQL away: nothing more is read (the journals hold it), tried again with growing pauses, and everything in
memory starts over from the stored offsets, since nobody knows whether the last commit came through. Valkey away:
commits go on. SIGTERM: what is there is written, then it ends.
"""

import fcntl
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg
import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from llmobs.budgets import definition
from llmobs.budgets.spend import count_new_budgets
from llmobs.core.clock import now_ns
from llmobs.core.env import Connections, EnvError, Place, Secrets, host_name
from llmobs.core.marks import marks
from llmobs.ingest import plain_log
from llmobs.ingest.commit import Batch, Offset, OffsetMoved, commit_batch
from llmobs.ingest.dead_letters import bury
from llmobs.ingest.groups import Group, translated
from llmobs.ingest.joiner import Joiner
from llmobs.ingest.journal import REPORTS, JournalReader, owners
from llmobs.ingest.ledger_keeper import LedgerKeeper
from llmobs.ingest.seal import Sealer
from llmobs.ingest.suspects import DEADLY, Suspects
from llmobs.ingest.tails import Found, Tail
from llmobs.ingest.translate import Config, Piece, Translator
from llmobs.pricing import book
from llmobs.tenants import roster
from llmobs.tenants.config_version import config_version

MOST_SPANS = 2000  # of one transaction
MOST_ENTRIES = 5000  # read at one turn
MOST_BYTES = 12 * 1024 * 1024  # of journal read at one turn
READ_BYTES = 6 * 1024 * 1024  # of one owner at a time, so that owners take turns
IDLE_SECONDS = 0.01
CONFIG_SECONDS = 0.5
HEARTBEAT_SECONDS = 1.0
OWNERS_SECONDS = 0.25
LOOK_FIRST = 50  # batches after one that stored claims had to do with: reports of calls come beside the calls
OFFSETS_SECONDS = 0.5  # where only begins were read
# A host that has vanished says nothing: without these a statement under way would wait for it for two hours.
PATIENCE: dict[str, Any] = {
    "connect_timeout": 5,
    "application_name": "llmobs writer",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 0.5  # budgets that block wait for a writer that recovers

Connection = psycopg.Connection[Any]

log = structlog.get_logger()


class Writer:
    """One writer over one data folder's journals. `turn` writes what waits; `run` turns until it is told to stop."""

    def __init__(
        self,
        journal: Path,
        secrets: Secrets,
        conn: Connection,
        client: redis.Redis,
        owner: str = "",
        suspects: Suspects | None = None,
    ) -> None:
        self._journal = journal
        self._suspects = suspects or Suspects()
        self._secrets = secrets
        self._conn = conn
        self._host = host_name()
        self.owner = owner or f"writer-{self._host}-{os.getpid()}-{os.urandom(3).hex()}"
        self._marks = marks(secrets)
        self._sealer = Sealer(secrets.journal_key)
        self._keeper = LedgerKeeper(client, self.owner, journal, secrets.journal_key)
        self._tails: dict[str, Tail] = {}
        self._translator = Translator(self._load_config())
        self._look_first = 0
        self._config_at = self._heartbeat_at = self._owners_at = self._offsets_at = 0.0

    # ---- the loop

    def run(self, is_stopping: Callable[[], bool]) -> None:
        """Until told to stop, then until nothing waits. Raises psycopg.OperationalError when PostgreSQL is away."""
        while True:
            stopping = is_stopping()
            wrote = self.turn()
            if stopping and not wrote:
                self._forget()
                return
            if not wrote:
                time.sleep(IDLE_SECONDS)

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
        found: list[Found] = []
        read_bytes = 0
        for tail in self._tails.values():
            before = tail.read_to
            found += tail.read(READ_BYTES)
            read_bytes += tail.read_to - before
            if read_bytes > MOST_BYTES or len(found) >= MOST_ENTRIES:
                break
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
        if self._suspects.is_careful:
            found = self._carefully(found)
        try:
            for group in translated(self._translator, found, MOST_SPANS):
                self._write_group(group, offsets if group.is_last else [])
        except OffsetMoved as moved:
            log.warning("journals read again", reason=str(moved))
            self._tails.clear()
            self._owners_at = 0.0
            return
        for tail in self._tails.values():
            if tail.has_moved:
                tail.was_committed()
                tail.reader.delete_below(tail.low_water)
        self._suspects.survived()

    def _carefully(self, found: list[Found]) -> list[Found]:
        """Each report alone, by whichever the writers before this one may have died; gives the others."""
        for each in found:
            if type(each.entry) in REPORTS and self._suspects.is_deadly(each):
                self._bury(each, DEADLY)
            elif type(each.entry) in REPORTS:
                self._suspects.trying(each)
                for group in translated(self._translator, [each], MOST_SPANS):
                    self._write_group(group, [])
        return [each for each in found if type(each.entry) not in REPORTS]

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
        new = [folder for folder in owners(self._journal) if folder.name not in self._tails]
        for folder in new:
            stored = self._conn.execute(
                "SELECT low_water, committed FROM journal_offset WHERE owner = %s", (folder.name,)
            ).fetchone()
            reader = JournalReader(folder, self._secrets.journal_key)
            self._tails[folder.name] = Tail.resume(reader, self._host, stored)

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


# ---------------------------------------------------------------- the process


def main() -> int:
    """Run until SIGTERM, through losses of PostgreSQL and Valkey."""
    plain_log.set_up()
    stopping: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        stopping.append(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        place = Place.from_env()
        place.make()
        secrets, connections = place.secrets(), place.connections()
    except EnvError as error:
        log.error("writer cannot start", error=str(error))
        return 2
    place.journal.mkdir(mode=0o700, exist_ok=True)
    lock = _only_one(place.journal, stopping)
    if lock is None:
        return 0
    owner = _name(lock)
    # A batch makes many thousand objects that live until its commit: looking through them over and over finds nothing.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    suspects = Suspects(place.journal / ".writer.suspects")
    suspects.began()
    with Joiner(connections.database_url, **PATIENCE):
        _run(place.journal, secrets, connections, stopping, owner, suspects)
    os.close(lock)
    return 0


def _only_one(journal: Path, stopping: list[int]) -> int | None:
    """Wait until no other writer works on these journals (one that was killed leaves the lock at once)."""
    lock = os.open(journal / ".writer.lock", os.O_RDWR | os.O_CREAT, 0o600)
    told = False
    while not stopping:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if not told:
                log.warning("another writer works on these journals; waiting for its end")
                told = True
            time.sleep(0.2)
    os.close(lock)
    return None


def _name(lock: int) -> str:
    """The owner's name of the one writer of these journals, kept in their lock.

    It outlives the process: a recovery waits for whoever was seen lately, and would wait in vain for a predecessor.
    """
    kept = os.pread(lock, 200, 0).decode(errors="replace").strip()
    if not kept:
        kept = f"writer-{host_name()}-{os.urandom(6).hex()}"
        os.pwrite(lock, kept.encode(), 0)
    return kept


def ledger_client(valkey_url: str) -> redis.Redis:
    """A client that gives up at once: commits must not wait for a Valkey that is away; folds are sent later."""
    return redis.Redis.from_url(
        valkey_url, socket_timeout=2, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0), health_check_interval=0
    )


def _run(
    journal: Path, secrets: Secrets, connections: Connections, stopping: list[int], owner: str, suspects: Suspects
) -> None:
    client = ledger_client(connections.valkey_url)
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            with psycopg.connect(connections.database_url, autocommit=True, **PATIENCE) as conn:
                writer = Writer(journal, secrets, conn, client, owner, suspects)
                pause = FIRST_PAUSE_SECONDS
                writer.run(lambda: bool(stopping))
                return
        except psycopg.Error as error:  # away, full, read-only, not migrated: whatever it is, the journals hold
            log.warning("PostgreSQL is away; the journals hold what comes", error=type(error).__name__, pause=pause)
        if stopping:
            return
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
