"""A connection of its own, for work that is psycopg's in transactions of its own."""

import psycopg
from django.conf import settings
from django.db import connection

from llmobs.keeping.horizons import Connection


def connect() -> Connection:
    """In autocommit, to the database that Django uses."""
    return psycopg.connect(settings.CONNECTIONS.database_url, dbname=connection.settings_dict["NAME"], autocommit=True)
