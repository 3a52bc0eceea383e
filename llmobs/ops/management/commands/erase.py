"""`manage.py erase --tenant SLUG --user ID`: a person's content and name out of everything that is kept, with proof."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from llmobs.keeping.erasing import DRAIN_SECONDS, NotErased
from llmobs.keeping.erasures import ask, carry_out
from llmobs.keeping.manifest import ArchiveError
from llmobs.tenants.models import Tenant

ACTOR = "command line"


class Command(BaseCommand):
    help = "Erase a person of a tenant: content removed, their id replaced by a random name; prints the signed proof."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--tenant", required=True, metavar="SLUG")
        parser.add_argument("--user", required=True, metavar="ID", help="as spans name them: user_id")
        parser.add_argument("--by", default=ACTOR, help="who asked, for the proof")
        parser.add_argument("--wait", type=float, default=DRAIN_SECONDS, help="seconds for journals to be written (60)")
        parser.add_argument("--json", action="store_true", help="the proof and its signature as one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        tenant = Tenant.objects.filter(slug=options["tenant"]).first()
        if tenant is None:
            raise CommandError(f"there is no tenant {options['tenant']!r}")
        if not options["user"].strip():
            raise CommandError("--user is empty")
        try:
            done = carry_out(ask(tenant, options["user"], options["by"]), options["wait"])
        except (NotErased, ArchiveError) as error:
            raise CommandError(str(error)) from None
        if options["json"]:
            self.stdout.write(json.dumps({"proof": done.proof, "signature": done.signature}))
            return
        for name, count in sorted(done.found.items()):
            self.stdout.write(f"{name}: {count}")
        self.stdout.write(
            f"{done} done, {sum(done.found.values())} found; its proof: /admin/keeping/erasure/{done.pk}/"
        )
