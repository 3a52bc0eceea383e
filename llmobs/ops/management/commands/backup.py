"""`manage.py backup DIR`: everything that is kept, as of one moment."""

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from llmobs.keeping.backup import BackupError, back_up
from llmobs.keeping.connecting import connect
from llmobs.keeping.passphrase import LEAST_CHARACTERS

VARIABLE = "LLMOBS_BACKUP_PASSPHRASE"


class Command(BaseCommand):
    help = "Back up all tables as of one moment, this host's journals, and by a passphrase the secrets."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, metavar="DIR", help="a folder that is empty or not there")
        add_passphrase(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        passphrase = passphrase_of(options["passphrase_file"])
        with connect() as conn:
            try:
                done = back_up(conn, settings.PLACE, options["folder"].absolute(), passphrase)
            except (BackupError, OSError) as error:
                raise CommandError(str(error)) from None
        self.stdout.write(
            f"{done.rows} rows of {len(done.tables)} tables and {len(done.journals)} segments of journals as of "
            f"{done.at} in {options['folder']}"
        )
        if passphrase:
            self.stdout.write("The secrets are in it, sealed by the passphrase.")
        else:
            self.stdout.write(
                "The secrets are NOT in it: without this data folder's secrets.json (or the variables that stand for "
                f"it) provider credentials and journals in it cannot be read. Keep a copy, or set {VARIABLE}."
            )
        self.stdout.write("Prompts and answers in it are as in the database: not sealed. Archived files are not in it.")


def add_passphrase(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help=f"whose first line seals the secrets (or {VARIABLE})"
    )


def passphrase_of(file: Path | None) -> str:
    """The passphrase that was given, "" for none."""
    try:
        given = file.read_text().splitlines()[0].strip() if file else os.environ.get(VARIABLE, "").strip()
    except (OSError, IndexError):
        raise CommandError(f"{file} holds no passphrase") from None
    if given and len(given) < LEAST_CHARACTERS:
        raise CommandError(f"a passphrase has at least {LEAST_CHARACTERS} characters")
    return given
