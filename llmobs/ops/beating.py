"""Celery's beat on any number of hosts: one beats, the others wait for its end.

Who beats holds a lock in PostgreSQL, for as long as its session lives: nothing has to be renewed in time, and no clock
is asked. A host that vanishes loses it when PostgreSQL finds its connection dead (PATIENCE). Wake-ups that two sent
all the same, around such a moment, do no harm: what is to be done is rows.
"""

from contextlib import suppress
from typing import Any

import psycopg
import structlog
from celery.beat import PersistentScheduler
from django.conf import settings

LOCK = 0x6C6C6D62  # "llmb"; the number says nothing
LOOK_SECONDS = 5.0  # how often one that waits tries
PATIENCE: dict[str, Any] = {
    "connect_timeout": 3,
    "application_name": "llmobs beat",
    # PostgreSQL's side: it must find out that a host has vanished, and let go of its lock.
    "options": "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

log = structlog.get_logger()


class Turn:
    """Whose turn it is to beat."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._conn: psycopg.Connection[Any] | None = None
        self._is_ours = False

    def is_ours(self) -> bool:
        """Whether this process beats now. PostgreSQL away: nobody does, and no task could work."""
        try:
            return self._ask()
        except psycopg.Error as error:
            if self._is_ours:
                log.warning("the beat stops: PostgreSQL is away", error=type(error).__name__)
            self.give_up()
            return False

    def give_up(self) -> None:
        """Let another one beat, at once where PostgreSQL can be told."""
        if self._conn is not None:
            with suppress(psycopg.Error):
                self._conn.execute("SELECT pg_advisory_unlock_all()")
            self._conn.close()
        self._conn, self._is_ours = None, False

    def _ask(self) -> bool:
        if self._conn is None:
            self._conn = psycopg.connect(self._url, autocommit=True, **PATIENCE)
        if self._is_ours:
            self._conn.execute("SELECT 1")  # a session that was ended has lost the lock
            return True
        row = self._conn.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
        self._is_ours = bool(row and row[0])
        if self._is_ours:
            log.info("this host beats")
        return self._is_ours


class Scheduler(PersistentScheduler):  # type: ignore[misc]
    """Beats where it is this host's turn."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._turn = Turn(settings.CONNECTIONS.database_url)
        super().__init__(*arguments, **named)

    def tick(self, *arguments: Any, **named: Any) -> float:
        """Send what is due; the seconds until the next look."""
        if not self._turn.is_ours():
            return LOOK_SECONDS
        return float(super().tick(*arguments, **named))

    def close(self) -> None:
        """At the end another host goes on at once."""
        super().close()
        self._turn.give_up()
