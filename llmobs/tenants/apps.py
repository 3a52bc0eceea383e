"""Django's entry for the tenants app."""

from typing import Any

import psycopg
from django.apps import AppConfig
from django.conf import settings
from django.db import connection
from django.db.models.signals import post_migrate
from psycopg.conninfo import conninfo_to_dict

from llmobs.tenants.walls import raise_walls


class TenantsConfig(AppConfig):
    name = "llmobs.tenants"
    label = "tenants"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        post_migrate.connect(_raise_walls, sender=self)


def _raise_walls(**sent: Any) -> None:
    """After every migration, forwards or backwards: once for all apps."""
    web = conninfo_to_dict(settings.CONNECTIONS.web_database_url)
    database = connection.settings_dict["NAME"]
    with psycopg.connect(settings.CONNECTIONS.database_url, dbname=database, autocommit=True) as conn:
        raise_walls(conn, str(web.get("user") or ""), str(web.get("password") or ""))
