"""`manage.py restore DIR`: put a backup in place, and verify it. Nothing may run on the data folder meanwhile."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from llmobs.core.env import Place
from llmobs.keeping.backup import BackupError
from llmobs.keeping.passphrase import PassphraseWrong
from llmobs.ops.embedded_postgres import EmbeddedPostgresError
from llmobs.ops.management.commands.backup import add_passphrase, passphrase_of
from llmobs.ops.platform import Taken
from llmobs.ops.restoring import Wishes, restore, run_held


class Command(BaseCommand):
    help = "Restore a backup into an empty database (--replace: into any), then verify it; exit 1 on any difference."
    requires_system_checks: list[str] = []  # they would ask a database that is not there yet

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, metavar="DIR", help="what `backup` wrote")
        parser.add_argument("--replace", action="store_true", help="drop what is in the database")
        parser.add_argument(
            "--without-secrets", action="store_true", help="go on although sealed credentials cannot be read"
        )
        parser.add_argument(
            "--erased", nargs="+", type=Path, default=[], metavar="FILE",
            help="lists (erased.jsonl) of other data folders: whoever is on them is erased again",
        )  # fmt: skip
        parser.add_argument("--held", action="store_true", help="internal: the data folder is held already")
        add_passphrase(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        place = Place.from_env()
        try:
            if not options["held"]:
                sys.exit(run_held(place, sys.argv[2:]))
            self._restore(place, options)
        except (BackupError, PassphraseWrong, Taken, EmbeddedPostgresError, OSError) as error:
            raise CommandError(str(error)) from None

    def _restore(self, place: Place, options: dict[str, Any]) -> None:
        wishes = Wishes(
            folder=options["folder"].absolute(),
            passphrase=passphrase_of(options["passphrase_file"]),
            replace=options["replace"],
            without_secrets=options["without_secrets"],
            erased=tuple(file.absolute() for file in options["erased"]),
        )
        done = restore(place, wishes)
        self.stdout.write(f"{done.rows} rows as of {done.backup.at}, {done.segments} segments of journals.")
        if done.lacking:
            self.stdout.write(f"Not to be read without the backup's secrets: {'; '.join(done.lacking)}.")
        if done.erased_again:
            self.stdout.write(f"{done.erased_again} people who were erased since are erased again.")
        if done.not_known:
            self.stdout.write(f"{done.not_known} on the lists were erased under another key: erase them again by hand.")
        for difference in done.report.differences:
            self.stdout.write(str(difference))
        checks = len(done.report.checked)
        self.stdout.write(f"{len(done.report.differences)} differences in {checks} checks.")
        if done.report.differences:
            sys.exit(1)
