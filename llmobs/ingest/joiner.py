"""The joiner: content that came as log records, to its spans (`joining`), in a thread and a connection of its own.

Beside the writer's batches, never before them: a batch waits for the joiner only where both are at one tenant, and then
for one transaction of MOST_SPANS. PostgreSQL away: tried again. What a kill cuts short is due again.
"""

import threading
from typing import Any, Self

import psycopg
import structlog

from llmobs.core.clock import now_ns, utc_from_ns
from llmobs.ingest.joining import join_all

JOIN_SECONDS = 0.5  # between two looks
AWAY_SECONDS = 2.0

log = structlog.get_logger()


class Joiner:
    """Joins for as long as the block lasts."""

    def __init__(self, database_url: str, **options: Any) -> None:
        self._url = database_url
        self._options = options
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="joiner", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True, **self._options) as conn:
                    self._join(conn)
            except psycopg.OperationalError as error:
                log.warning("log records wait: PostgreSQL is away", error=type(error).__name__)
                self._ending.wait(AWAY_SECONDS)
            except Exception:
                # A thread's outermost loop: records that cannot be joined must not end it, and go within the hour.
                log.exception("log records were not joined")
                self._ending.wait(AWAY_SECONDS)

    def _join(self, conn: psycopg.Connection[Any]) -> None:
        while True:
            join_all(conn, utc_from_ns(now_ns()))
            if self._ending.wait(JOIN_SECONDS):
                return
