"""The web's way to the ledger, and to plain modules that read with psycopg's own connection."""

from functools import cache
from typing import Any, cast

import psycopg
import redis
from django.conf import settings
from django.db import connection
from psycopg.types.json import JsonbLoader

from llmobs.budgets.definition import Budgets, load

TIMEOUT_SECONDS = 0.5  # a page is not kept waiting for what it can leave out


class _Plain:
    """Django's connection as plain modules know it: Django itself leaves jsonb as text."""

    def execute(self, query: str, params: Any = None) -> "psycopg.Cursor[Any]":
        connection.ensure_connection()
        cursor = psycopg.Cursor(connection.connection)
        cursor.adapters.register_loader("jsonb", JsonbLoader)
        return cursor.execute(query.encode(), params)


def budgets_now() -> Budgets:
    """All active budgets, as configured now."""
    return load(cast("psycopg.Connection[Any]", _Plain()))


@cache
def ledger_client() -> "redis.Redis":
    """One client (a pool of connections) for this process; pages show "–" for what is held where it fails."""
    return redis.Redis.from_url(
        settings.VALKEY_URL, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, retry=None
    )
