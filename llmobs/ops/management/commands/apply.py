"""`apply FILE.yaml`: make what a configuration file says, and return once every running gateway has it."""

import sys
from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from textwrap import fill
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from llmobs.ops.apply import apply
from llmobs.ops.configuration import parse
from llmobs.ops.configuring.applying import Report
from llmobs.ops.configuring.entry import ConfigurationError, Part
from llmobs.ops.configuring.parts import PARTS
from llmobs.ops.configuring.tenant_parts import TENANT_PARTS
from llmobs.ops.configuring.tenants import TENANTS
from llmobs.ops.waiting import wait_until_live
from llmobs.tenants.audit import Outcome

COLUMN = 16
LINE = 120

SIGNS = {Outcome.CREATED: "+", Outcome.CHANGED: "~", Outcome.UNCHANGED: "="}


def explained() -> str:
    """What a file may say; the parser names every mistake with its place."""
    lines = []
    for part in PARTS:
        lines.append(_explained(part, ""))
        lines += [_explained(inner, "  ") for inner in TENANT_PARTS if part is TENANTS]
    return (
        "the file's parts, each a list; what it does not name is left alone:\n\n" + "\n".join(lines) + "\n\n"
        'amounts are USD, kept exactly: "250.00" or 250. --data DIR (or LLMOBS_DATA) says on which platform; '
        "default var/.\n"
    )


def _explained(part: Part, indent: str) -> str:
    name = f"{indent}{part.name}".ljust(COLUMN)
    return fill(part.explained, LINE, initial_indent=name, subsequent_indent=" " * COLUMN, break_on_hyphens=False)


class Command(BaseCommand):
    help = "Make tenants, keys, budgets, providers, models, routes, judges and alert channels as the file says."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = explained()
        parser.add_argument("file", help="a YAML file; - reads it from standard input")
        parser.add_argument("--dry-run", action="store_true", help="say what would change, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        file, is_dry_run = options["file"], options["dry_run"]
        try:
            configuration = parse(sys.stdin.read() if file == "-" else Path(file).read_bytes())
            report = apply(configuration, settings.SECRETS.encryption_keys, is_dry_run=is_dry_run)
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}") from None
        except ConfigurationError as error:
            raise CommandError(f"{file} was not applied, nothing has changed:\n{error}") from None
        self._print(report, is_dry_run)
        if not is_dry_run:
            self._wait()

    def _print(self, report: Report, is_dry_run: bool) -> None:
        for entry in report.applied:
            if entry.outcome is not Outcome.UNCHANGED:
                self.stdout.write(f"{SIGNS[entry.outcome]} {entry.kind} {entry.name} {entry.outcome}")
        for note in report.notes:
            self.stdout.write(f"! {note}")
        for name, secret in report.secrets.items():
            self.stdout.write(f"key {name}: {secret}  (shown once)")
        counts = ", ".join(f"{report.count(outcome)} {outcome}" for outcome in Outcome)
        self.stdout.write(f"{counts}{' (dry run: nothing was written)' if is_dry_run else ''}")

    def _wait(self) -> None:
        with connection.cursor() as cursor:
            waited = wait_until_live(cursor)
        if not waited.is_live:
            raise CommandError(f"the file is applied, but {waited}")
        self.stdout.write(str(waited))
