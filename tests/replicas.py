"""A streaming replica of the tests' PostgreSQL: made by its own pg_basebackup, stopped, held up and let go on."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from llmobs.ops.child import spawn
from llmobs.ops.embedded_postgres import EmbeddedPostgres, _binary, _give, _unprivileged
from tests.stores import TEST_DATABASE, Stores

PATIENCE_SECONDS = 90.0
LOOK_SECONDS = 0.01


class Replica:
    """One second server beside the first, in the same folder; `stop` takes it away."""

    def __init__(self, stores: Stores) -> None:
        self.folder = stores.folder / "replica"
        self._primary_url = stores.database_url
        self.server = EmbeddedPostgres(self.folder, stores.postgres.password, stores.postgres.settings)
        self.folder.mkdir(mode=0o700)
        _give(self.folder)
        subprocess.run(
            [
                *_unprivileged(), str(_binary("pg_basebackup")), "--pgdata", str(self.server.data),
                "--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream", "--dbname",
                stores.postgres.url("postgres"),
            ],
            check=True, capture_output=True,
        )  # fmt: skip
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.server.url(TEST_DATABASE)

    def start(self) -> None:
        self.server.prepare()
        self._child = spawn(self.server.command(), self._log, death_signal=signal.SIGINT)
        # What it lacks to be consistent may lie in the primary's memory, and an idle primary sends nothing.
        self._ask(self._primary_url, "SELECT pg_log_standby_snapshot(), pg_switch_wal()")
        self.until(self.server.is_ready)
        self.catch_up()

    def kill(self) -> None:
        """As kill -9 does it; its backends see it and end."""
        assert self._child is not None
        self._child.kill()
        self._child.wait()
        self._child = None

    def catch_up(self) -> None:
        """Wait until all that the primary has written is replayed."""
        place = self._ask(self._primary_url, "SELECT pg_current_wal_insert_lsn()::text")
        question = f"SELECT coalesce(pg_last_wal_replay_lsn() >= '{place}', false)"
        self.until(lambda: bool(self._ask(self.url, question)))

    def hold(self) -> None:
        """It still receives, and shows nothing of it."""
        self._ask(self.url, "SELECT pg_wal_replay_pause()")
        self.until(lambda: self._ask(self.url, "SELECT pg_get_wal_replay_pause_state()") == "paused")

    def go_on(self) -> None:
        self._ask(self.url, "SELECT pg_wal_replay_resume()")
        self.catch_up()

    def end_sessions(self) -> None:
        """End every connection but the one that asks for it."""
        self._ask(
            self.url,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        )

    def stop(self) -> None:
        if self._child is not None:
            self.kill()
        far = self.server.socket_folder
        shutil.rmtree(self.folder, ignore_errors=True)
        if not far.is_relative_to(self.folder):
            shutil.rmtree(far, ignore_errors=True)

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    @staticmethod
    def _ask(url: str, question: str) -> Any:
        with psycopg.connect(url, autocommit=True) as conn:
            row = conn.execute(question.encode()).fetchone()
            return row[0] if row else None

    def until(self, is_so: Callable[[], bool]) -> None:
        """Look until it is so."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            if time.monotonic() > until:
                raise AssertionError(f"the replica did not follow in time: {self._log.read_text()[-2000:]}")
            time.sleep(LOOK_SECONDS)
