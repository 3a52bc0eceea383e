"""`createkey --tenant SLUG` or `--operator`: make a key and print its secret once; only its hash is stored.

Returns once every running gateway knows the key.
"""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.utils import timezone

from llmobs.ops.waiting import wait_until_live
from llmobs.tenants import audit
from llmobs.tenants.keys import new_secret, prefix_of, secret_hash
from llmobs.tenants.models import Key, Tenant

ACTOR = "createkey"
MOST_WAIT_SECONDS = 5.0


class Command(BaseCommand):
    help = "Print a new key once; only its hash is stored."

    def add_arguments(self, parser: CommandParser) -> None:
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("--tenant", metavar="SLUG", help="the tenant that the key belongs to")
        whose.add_argument("--operator", action="store_true", help="a key for the REST API that sees every tenant")
        parser.add_argument("--name", default="", help="default: the date and time")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = None if options["operator"] else self._tenant(options["tenant"])
        name = options["name"] or f"made {timezone.now():%Y-%m-%d %H:%M:%S.%f}"
        secret = new_secret()
        key = Key(tenant=tenant, name=name, prefix=prefix_of(secret), secret_hash=secret_hash(secret))
        try:
            audit.save(key, ACTOR)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        self.stdout.write(secret)
        if tenant is not None:  # who calls with it at once is let in
            self.stdout.flush()
            with connection.cursor() as cursor:
                wait_until_live(cursor, most_seconds=MOST_WAIT_SECONDS)

    def _tenant(self, slug: str) -> Tenant:
        tenant = Tenant.objects.filter(slug=slug).first()
        if tenant is None:
            known = ", ".join(Tenant.objects.values_list("slug", flat=True)[:20]) or "none yet; `apply` makes them"
            raise CommandError(f"there is no tenant {slug!r} (there are: {known})")
        return tenant
