"""The web's engine for tests: whatever a request asks is asked as the web's role, what a test does itself as the owner.

Both on one connection, so that a request sees what its test has written and not committed.
"""

from typing import Any

from psycopg.pq import TransactionStatus

from llmobs.ops.embedded_postgres import WEB_USER
from llmobs.tenants import seeing
from llmobs.tenants.walled import base


class AsWeb(base.Walled):
    def wall(self) -> str:
        said, status = seeing.said(), self.connection.info.transaction_status
        if status == TransactionStatus.INERROR or (said is None and status == TransactionStatus.IDLE):
            return ""  # as the owner; a transaction may have been the web's before
        role = "none" if said is None else WEB_USER
        return f"SELECT set_config('role', '{role}', true), set_config('{seeing.SETTING}', '{said or ''}', true)"


class Cursor(AsWeb, base.Cursor):
    pass


class ServerSideCursor(AsWeb, base.ServerSideCursor):
    pass


class DatabaseWrapper(AsWeb, base.DatabaseWrapper):
    cursor_class: Any = Cursor
    server_side_cursor_class: Any = ServerSideCursor
