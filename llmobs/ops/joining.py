"""Whether a host fits those that work already: the same secrets, and tables that are as new as it needs them."""

from typing import Any

import psycopg
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from llmobs.core.env import Secrets, host_name
from llmobs.core.marks import differing_from_any, marks

SEEN_SECONDS = 60

Connection = psycopg.Connection[Any]


class Unfit(Exception):
    """This host must not work beside the others; the message says why and what to do."""


def is_there(conn: Connection) -> bool:
    """Whether the database has ever been prepared, by a version that has hosts' marks."""
    row = conn.execute(
        "SELECT 1 FROM information_schema.columns WHERE table_name = 'heartbeat' AND column_name = 'secrets'"
    ).fetchone()
    return row is not None


def look_migrated() -> None:
    """Raises Unfit where the tables are older than this version needs. Newer ones are fine: hosts follow in turn."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise Unfit(
            "the database is not prepared for this version: run `manage.py up`, or `prepare`, on the first host"
        )


def look_alike(conn: Connection, secrets: Secrets) -> None:
    """Raises Unfit where another host works with other secrets: it could open neither credentials nor sessions."""
    rows = conn.execute(
        "SELECT host, secrets FROM heartbeat WHERE kind = 'writer' AND host <> %s "
        "AND seen_at > now() - make_interval(secs => %s)",
        (host_name(), SEEN_SECONDS),
    ).fetchall()
    if found := differing_from_any(marks(secrets), (theirs for _, theirs in rows)):
        others = ", ".join(sorted({host for host, _ in rows}))
        raise Unfit(
            f"{', '.join(found)} of this host differ from those of {others}: copy secrets.json from there into the "
            "data folder before the first start (docs/hosts.md)"
        )
