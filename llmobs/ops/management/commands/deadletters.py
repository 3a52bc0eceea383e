"""`manage.py deadletters list|replay|drop`: what could not be written, and what is to become of it."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet

from llmobs.ingest.dead_letters import letters as listed
from llmobs.keeping import letters
from llmobs.keeping.connecting import connect
from llmobs.keeping.models import DeadLetter

ACTOR = "command line"


class Command(BaseCommand):
    help = "List what could not be written, with its reason; replay it after a fix; drop it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="what", required=True)
        listing = commands.add_parser("list", help="what waits, the oldest first")
        listing.add_argument("--tenant", metavar="SLUG", default="")
        listing.add_argument("--all", action="store_true", help="those that were replayed too")
        listing.add_argument("--json", action="store_true", help="as one JSON object")
        for name, told in (("replay", "write them again, each once"), ("drop", "delete them for good")):
            each = commands.add_parser(name, help=told)
            each.add_argument("letters", nargs="*", type=int, metavar="ID")
            each.add_argument("--all", action="store_true", help="all that wait")
            each.add_argument("--tenant", metavar="SLUG", default="", help="all of a tenant that wait")

    def handle(self, *_: Any, **options: Any) -> None:
        getattr(self, f"_{options['what']}")(options)

    def _list(self, options: dict[str, Any]) -> None:
        with connect() as conn:
            found = listed(conn, options["tenant"], options["all"])
        if options["json"]:
            self.stdout.write(json.dumps({"letters": [asdict(letter) for letter in found]}, default=str))
            return
        for each in found:
            state = f", replayed {each.replayed_at:%Y-%m-%d %H:%M}" if each.replayed_at else ""
            self.stdout.write(
                f"{each.letter_id}  {each.at:%Y-%m-%d %H:%M} UTC  {each.tenant or '?'}  {each.kind}, {each.bytes} "
                f"bytes, of {each.owner or '?'}: {each.reason}{state}"
            )
        self.stdout.write(f"{len(found)} dead letter{'' if len(found) == 1 else 's'}")

    def _replay(self, options: dict[str, Any]) -> None:
        done = letters.replay(self._chosen(options), ACTOR)
        for each in done:
            told = each.error or f"written, {each.spans} spans new, {each.duplicates} known"
            self.stdout.write(f"{each.letter_id}: {told}")
        failed = sum(1 for each in done if each.error)
        self.stdout.write(f"{len(done) - failed} written, {failed} not")
        if failed:
            raise CommandError("what could not be written waits on, with the reason above")

    def _drop(self, options: dict[str, Any]) -> None:
        self.stdout.write(f"{letters.drop(self._chosen(options), ACTOR)} dropped")

    def _chosen(self, options: dict[str, Any]) -> "QuerySet[DeadLetter]":
        waiting = DeadLetter.objects.filter(replayed_at=None).order_by("at", "pk")
        if options["letters"]:
            return waiting.filter(pk__in=options["letters"])
        if not (options["all"] or options["tenant"]):
            raise CommandError("name letters by their ids, or say --all or --tenant SLUG")
        return waiting.filter(tenant__slug=options["tenant"]) if options["tenant"] else waiting
