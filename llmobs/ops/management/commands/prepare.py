"""`prepare`: bring database and static files to what this version needs. Idempotent; `up` runs it first."""

import sys
from argparse import ArgumentParser
from datetime import UTC, datetime

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand

from llmobs.core.env import Secrets, read_str
from llmobs.ops.joining import Unfit, is_there, look_alike, look_migrated
from llmobs.ops.processes import UNFIT_STATUS
from llmobs.ops.static_files import collect
from llmobs.spans.partitions import make_ahead
from llmobs.tenants.keys import prefix_of, secret_hash
from llmobs.tenants.models import Key, User

OPERATOR = "admin"
_LOCK = 0x6C6C6D6F  # "llmo": one preparation at a time, on however many machines


class Command(BaseCommand):
    help = "Migrate, make partitions, collect static files, make the first operator."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--show-password", action="store_true", help="print a new operator's password, once")
        parser.add_argument("--join", action="store_true", help="only look whether other hosts have prepared all this")

    def handle(self, *, show_password: bool, join: bool, **options: object) -> None:
        try:
            self._prepare(show_password, join)
        except Unfit as unfit:
            self.stdout.write(f"llmobs: {unfit}")
            sys.exit(UNFIT_STATUS)

    def _prepare(self, show_password: bool, join: bool) -> None:
        with psycopg.connect(settings.CONNECTIONS.database_url, autocommit=True) as conn:
            if join:
                look_migrated()
                look_alike(conn, settings.SECRETS)
                return
            conn.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
            if is_there(conn):
                look_alike(conn, settings.SECRETS)
            call_command("migrate", interactive=False, verbosity=0)
            with conn.transaction():
                make_ahead(conn, datetime.now(UTC).date())
            is_new = make_operator(settings.SECRETS)
            make_operator_key(read_str("LLMOBS_OPERATOR_KEY"))
        collect(settings.PLACE)
        if is_new and show_password:
            password = settings.SECRETS.admin_password
            self.stdout.write(f"Sign in as {OPERATOR} with the password {password} (shown once, kept in secrets.json).")


def make_operator(secrets: Secrets) -> bool:
    """Make the first operator, unless there is one; True if it was made."""
    if User.objects.filter(is_superuser=True).exists():
        return False
    User.objects.create_superuser(OPERATOR, password=secrets.admin_password)
    return True


def make_operator_key(secret: str) -> None:
    """Make the operator key of LLMOBS_OPERATOR_KEY, if it is set and not there yet."""
    if secret:
        Key.objects.get_or_create(
            secret_hash=secret_hash(secret),
            defaults={"tenant": None, "name": "bootstrap", "prefix": prefix_of(secret)},
        )
