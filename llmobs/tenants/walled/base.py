"""Django's PostgreSQL engine for the web's own role: every statement goes with whose rows it may see.

1. A statement is sent as one message with the `set_config` that says so. PostgreSQL runs such a message in one
   transaction, so the setting is gone with it, though the connection stays open and goes to another request: nothing
   has to be reset, nothing can be forgotten, and it costs no round trip.
2. Within `atomic` the setting lasts to the end of the transaction, and is said anew with each statement all the same.
3. What cannot be sent so (many rows at once, a server-side cursor) gets a transaction, or an earlier statement in it.
   What is to come in binary form (`AsBytes`) goes in a pipeline with the setting: one transaction and one round trip.
It holds behind poolers of transactions too, which a setting of the session would not.
"""

from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg import sql
from psycopg.pq import TransactionStatus

from llmobs.core.sql import AsBytes
from llmobs.tenants import seeing


class Walled:
    """What both kinds of cursors know."""

    connection: Any
    execute: Any
    executemany: Any
    fetchall: Any
    mogrify: Any
    nextset: Any

    def wall(self) -> str:
        """What goes before a statement; "" where nothing can: a transaction that failed is only rolled back."""
        if self.connection.info.transaction_status == TransactionStatus.INERROR:
            return ""
        return seeing.statement()

    def begins(self) -> bool:
        """Whether the next statement would be a transaction of its own."""
        return bool(self.connection.autocommit) and (self.connection.info.transaction_status == TransactionStatus.IDLE)


class Cursor(Walled, base.Cursor):
    _as_bytes: "psycopg.Cursor[Any] | None" = None  # what has the answer, where it was asked for so

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        wall, self._as_bytes = self.wall(), None
        if not wall:
            return super().execute(query, params, **options)
        if isinstance(query, AsBytes):
            self._as_bytes = psycopg.Cursor(self.connection)  # of Django's own kind none can
            whole = self.mogrify(str(query), params).encode()
            with self.connection.pipeline():
                psycopg.Cursor(self.connection).execute(wall.encode())
                self._as_bytes.execute(whole, binary=True)
            return self
        super().execute(_joined(wall, query), params, **options)
        self.nextset()  # past the setting's own answer
        return self

    def fetchall(self) -> Any:
        return super().fetchall() if self._as_bytes is None else self._as_bytes.fetchall()

    def executemany(self, query: Any, params_seq: Any, **options: Any) -> Any:
        wall, self._as_bytes = self.wall(), None
        if wall and self.begins():
            with self.connection.transaction():
                super().execute(wall)
                return super().executemany(query, params_seq, **options)
        if wall:
            super().execute(wall)
        return super().executemany(query, params_seq, **options)


class ServerSideCursor(Walled, base.ServerSideCursor):
    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        if not self.begins():
            self.connection.execute("SELECT 1")  # by a cursor of the other kind, which says it for the transaction
            return super().execute(query, params, **options)
        with self.connection.transaction():  # at whose end the rows are found and held
            self.connection.execute("SELECT 1")
            return super().execute(query, params, **options)


class DatabaseWrapper(Walled, base.DatabaseWrapper):
    cursor_class: Any = Cursor
    server_side_cursor_class: Any = ServerSideCursor

    def get_connection_params(self) -> dict[str, Any]:
        return {**super().get_connection_params(), "cursor_factory": self.cursor_class}

    def create_cursor(self, name: str | None = None) -> Any:
        if name is None:
            return super().create_cursor()
        assert self.connection is not None
        # As Django's own; its rows come in the connection's time zone, which is the settings'.
        return self.server_side_cursor_class(
            self.connection, name=name, scrollable=False, withhold=self.connection.autocommit
        )


def _joined(wall: str, query: Any) -> Any:
    if isinstance(query, bytes):
        return f"{wall}; ".encode() + query
    if isinstance(query, sql.Composable):
        return sql.SQL("{}; {}").format(sql.SQL(wall), query)
    return f"{wall}; {query}"
