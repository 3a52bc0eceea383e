"""The writer: the only program that writes spans (`python -m llmobs.ingest [--number N]`).

One process or several a host, each with a number of its own and a share of the host's journals (`ingest.shares`); what
each does stands in `ingest.writing`. PostgreSQL away: it is asked again with growing pauses.
"""

import argparse
import gc
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg
import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from llmobs.core.env import Connections, EnvError, Place, Secrets
from llmobs.ingest import plain_log
from llmobs.ingest.joiner import Joiner
from llmobs.ingest.shares import Share, kept_name, only_one
from llmobs.ingest.writing import Writer

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
FIRST = 1  # the writer that also joins log records to their spans

log = structlog.get_logger()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM, through losses of PostgreSQL and Valkey."""
    parser = argparse.ArgumentParser(prog="python -m llmobs.ingest", description=__doc__)
    parser.add_argument("--number", type=int, default=FIRST, help="which of this host's writers it is, from 1 on")
    number: int = parser.parse_args(arguments).number
    plain_log.set_up()
    stopping: list[int] = []

    def stop(signalled: int, _: FrameType | None) -> None:
        stopping.append(signalled)

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
    lock = only_one(place.journal, number, lambda: bool(stopping))
    if lock is None:
        return 0
    # A batch makes many thousand objects that live until its commit: looking through them over and over finds nothing.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    share = Share(place.journal, number)
    with Joiner(connections.database_url, **PATIENCE) if number == FIRST else nullcontext():
        _run(place.journal, secrets, connections, lambda: bool(stopping), kept_name(lock), share)
    share.close()
    os.close(lock)
    return 0


def ledger_client(valkey_url: str) -> redis.Redis:
    """A client that gives up at once: commits must not wait for a Valkey that is away; folds are sent later."""
    return redis.Redis.from_url(
        valkey_url, socket_timeout=2, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0), health_check_interval=0
    )


def _run(
    journal: Path,
    secrets: Secrets,
    connections: Connections,
    is_stopping: Callable[[], bool],
    owner: str,
    share: Share,
) -> None:
    client = ledger_client(connections.valkey_url)
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            with psycopg.connect(connections.database_url, autocommit=True, **PATIENCE) as conn:
                writer = Writer(journal, secrets, conn, client, owner, share)
                pause = FIRST_PAUSE_SECONDS
                writer.run(is_stopping)
                return
        except psycopg.Error as error:  # away, full, read-only, not migrated: whatever it is, the journals hold
            log.warning("PostgreSQL is away; the journals hold what comes", error=type(error).__name__, pause=pause)
        if is_stopping():
            return
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
