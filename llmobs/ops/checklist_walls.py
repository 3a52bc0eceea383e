"""The launch checklist's row on the second wall between tenants: whether it binds the web's role in PostgreSQL."""

import psycopg
from django.conf import settings
from django.db import connection
from psycopg.conninfo import conninfo_to_dict

from llmobs.ops.checklist import Item, State
from llmobs.tenants.walls import gaps

WHAT = "a second wall between tenants, in PostgreSQL"


def second_wall() -> Item:
    """Looked at as the web's role itself."""
    url = settings.CONNECTIONS.web_database_url
    if not url:
        how = "the web connects as the owner of the tables, whom no policy binds: set WEB_DATABASE_URL (docs/walls.md)"
        return Item("P2", State.MISSING, WHAT, how)
    role = conninfo_to_dict(url).get("user")
    try:
        with psycopg.connect(url, dbname=connection.settings_dict["NAME"], connect_timeout=5) as conn:
            found = gaps(conn)
    except psycopg.OperationalError:
        return Item("P1", State.MISSING, WHAT, f"the web cannot connect as {role}: `manage.py prepare` makes the role")
    if found:
        return Item("P1", State.MISSING, WHAT, f"{role}: {'; '.join(found)} (docs/walls.md)")
    return Item("P2", State.SET, WHAT, f"the web is {role}, and sees one request's tenants at a time")
