"""Django's connection as plain modules know it: Django itself leaves jsonb as text, they expect it decoded."""

from typing import Any, cast

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg.types.json import JsonbLoader

from llmobs.tenants.walled.base import Walled


class _Plain:
    def execute(self, query: str, params: Any = None, *, binary: bool = False) -> "psycopg.Cursor[Any]":
        connection = connections[DEFAULT_DB_ALIAS]  # itself: what Django hands out as `connection` is of no class of it
        connection.ensure_connection()
        cursor = psycopg.Cursor(connection.connection)
        cursor.adapters.register_loader("jsonb", JsonbLoader)
        wall = connection.wall() if isinstance(connection, Walled) else ""
        if not wall:
            return cursor.execute(query.encode(), params, binary=binary)
        with connection.connection.pipeline():  # one transaction, and one round trip
            psycopg.Cursor(connection.connection).execute(wall.encode())
            cursor.execute(query.encode(), params, binary=binary)
        return cursor


def plain_connection() -> "psycopg.Connection[Any]":
    """For what takes a connection only to execute on it: `load(conn)` of the configuration, `read_content`."""
    return cast("psycopg.Connection[Any]", _Plain())
