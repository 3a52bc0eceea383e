"""One PostgreSQL and one Valkey per test run, in a temporary folder, ended with the run however it ends.

Valkey starts at once (its port is then ours, whoever else runs tests), PostgreSQL when a test first needs it.
Both get a signal from the kernel when the test run dies, so that nothing stays behind.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from llmobs.core.env import Place
from llmobs.ops.child import spawn
from llmobs.ops.embedded_postgres import DATABASE, EmbeddedPostgres
from llmobs.ops.embedded_valkey import EmbeddedValkey, EmbeddedValkeyError, free_port
from llmobs.spans.partitions import make_partitions

# Test data need not survive a crash of the machine.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "64MB"}
TEST_DATABASE = f"test_{DATABASE}"
DAYS_BACK, DAYS_AHEAD = 8, 3


class Stores:
    """Both servers and their addresses."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="llmobs-tests-"))
        self.place = Place(self.folder)
        (self.folder / "static").mkdir()  # whitenoise looks for it at its start
        self.postgres = EmbeddedPostgres(
            self.place.postgres, self.place.secrets().postgres_password, {**FAST, "unix_socket_permissions": "0700"}
        )
        self.children: list[subprocess.Popen[bytes]] = []
        self._start_valkey()

    def _start_valkey(self) -> None:
        log = self.folder / "valkey.log"
        for attempt in range(5):
            self.valkey = EmbeddedValkey.of(self.place, free_port())
            self.valkey.prepare()
            child = spawn(self.valkey.command(), log)
            try:
                self.valkey.wait_ready(child, log)
            except EmbeddedValkeyError:  # someone was quicker on this port
                child.kill()
                child.wait()
                if attempt == 4:
                    raise
                continue
            self.children.append(child)
            return

    def environment(self) -> dict[str, str]:
        """What a process needs to reach these stores; Django makes its test database beside the one named here."""
        return {
            "LLMOBS_DATA": str(self.folder),
            "DATABASE_URL": self.postgres.url(),
            "WEB_DATABASE_URL": self.postgres.web_url(),
            "VALKEY_URL": self.valkey.url(),
            "DJANGO_SETTINGS_MODULE": "tests.settings",
        }

    @property
    def database_url(self) -> str:
        return self.postgres.url(TEST_DATABASE)

    def start_postgres(self) -> None:
        log = self.folder / "postgres.log"
        self.postgres.prepare()
        child = spawn(self.postgres.command(), log, death_signal=signal.SIGINT)
        self.children.append(child)
        self.postgres.wait_ready(child, log)

    def make_partitions(self) -> None:
        """For the days around today, as `up` does."""
        today = datetime.now(UTC).date()
        with psycopg.connect(self.database_url) as conn:
            make_partitions(conn, {today + timedelta(days=n) for n in range(-DAYS_BACK, DAYS_AHEAD + 1)})

    def filled_tables(self) -> list[str]:
        """Tables with a file that is not empty; truncating the empty ones too would take longer than most tests."""
        with psycopg.connect(self.database_url, autocommit=True) as conn:
            rows = conn.execute(
                "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE c.relkind = 'r' AND n.nspname = 'public' AND pg_relation_size(c.oid) > 0"
            ).fetchall()
        return [str(row[0]) for row in rows]

    def empty_database(self, kept: frozenset[str]) -> None:
        """Truncate what holds rows, but for what the migrations put there; waits for nobody's lock for long."""
        tables = [name for name in self.filled_tables() if name not in kept]
        if not tables:
            return
        with psycopg.connect(self.database_url, autocommit=True) as conn:
            conn.execute("SET lock_timeout = '5s'")
            # Of processes that the test killed: their sessions end when the server notices, and until then hold on to
            # locks that the next test asks for once (`recovery.recover` does not wait).
            conn.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks JOIN pg_database d ON d.oid = database "
                "WHERE locktype = 'advisory' AND datname = current_database() AND pid <> pg_backend_pid()"
            )
            names = sql.SQL(", ").join(sql.SQL(name) for name in tables)
            conn.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(names))

    def stop(self) -> None:
        for child in reversed(self.children):
            child.send_signal(signal.SIGINT)
        for child in self.children:
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        far = self.postgres.socket_folder
        shutil.rmtree(self.folder, ignore_errors=True)
        if not far.is_relative_to(self.folder):
            shutil.rmtree(far, ignore_errors=True)


def set_environment(values: dict[str, str]) -> None:
    """For this process and its children; what could reach a real provider or store is taken away."""
    for name in ("READ_DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        os.environ.pop(name, None)
    for name in [name for name in os.environ if name.startswith("LLMOBS_")]:
        del os.environ[name]
    os.environ.update(values)
