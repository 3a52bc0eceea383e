"""`apply FILE.yaml`: make what a configuration file says, and return once every running gateway has it."""

import sys
from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from llmobs.ops.apply import Report, apply
from llmobs.ops.configuration import ConfigurationError, parse
from llmobs.ops.waiting import wait_until_live
from llmobs.tenants.audit import Outcome

# What a file may say; the parser is `configuration`, which names every mistake with its place.
EXPLAINED = """\
the file's parts, each a list; what it does not name is left alone:

providers       who answers: name, dialect (openai or anthropic), base_url; credential: env:VARIABLE or file:/path, both
                read where the gateway runs, or the secret itself, kept sealed; headers, prices_like, is_enabled
models          prices where the bundled book has none or another: provider, model, input_usd_per_mtok,
                output_usd_per_mtok, cache_read_usd_per_mtok, cache_write_5m_usd_per_mtok, cache_write_1h_usd_per_mtok,
                max_output_tokens, effective_from (a time with its zone)
routes          names that clients put into "model": name, candidates (provider, model), strategy (fallback)
tenants         who pays: slug, name, plan, content (full, redacted, hash, none), time_zone, retention_days, is_active,
                keys, budgets
  keys          name, feature, environment, service (defaults of calls), allowed_models, criticality (realtime,
                background, best_effort), unpriced (refuse, allow), expires_at; secret: env:VARIABLE or the text itself,
                without it one is made and printed once
  budgets       name, limit_usd or limit_tokens, window (hour, day, week, month, total), action (block, alert),
                thresholds (percents), is_active; scope: any of feature, environment, service, user, session, key,
                model, provider, each a value or "*" for one budget for each value; {}: the whole tenant
judges          who scores a sample of answers: name, tenant, model, key (NAME or SLUG/NAME), sample (0 to 1), criteria,
                feature, is_enabled
alert_channels  where passed thresholds are told: name, tenant, url (https://... or mailto:...), is_enabled

amounts are USD, kept exactly: "250.00" or 250. --data DIR (or LLMOBS_DATA) says on which platform; default var/.
"""

SIGNS = {Outcome.CREATED: "+", Outcome.CHANGED: "~", Outcome.UNCHANGED: "="}


class Command(BaseCommand):
    help = "Make tenants, keys, budgets, providers, models, routes, judges and alert channels as the file says."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = EXPLAINED
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
