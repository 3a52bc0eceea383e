"""A connection of its own, for work that is psycopg's in transactions of its own."""

import psycopg
from django.conf import settings
from django.db import connection

from llmobs.keeping.horizons import Connection

_LOCK = 0x6C6C6D6B  # "llmk"
_REPLAY_LOCK = 0x6C6C6D6C  # "llml": of letters


def connect() -> Connection:
    """In autocommit, to the database that Django uses."""
    return psycopg.connect(settings.CONNECTIONS.database_url, dbname=connection.settings_dict["NAME"], autocommit=True)


def alone(conn: Connection) -> None:
    """Until the connection ends, nobody else archives, erases or restores: a day that is being archived while a person
    is erased would hold them for good.
    """
    conn.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))


def first_to_replay(conn: Connection) -> bool:
    """Whether nobody else replays letters that were asked for; until the connection ends nobody else does."""
    row = conn.execute("SELECT pg_try_advisory_lock(%s)", (_REPLAY_LOCK,)).fetchone()
    return row is not None and bool(row[0])
