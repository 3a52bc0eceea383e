"""`manage.py verify`: recompute from raw spans and bills, print every difference, exit 1 on any."""

import json
import sys
from argparse import ArgumentParser
from typing import Any

import psycopg
import redis
from django.conf import settings
from django.core.management.base import BaseCommand

from llmobs.ops.verify import keep, verify


class Command(BaseCommand):
    help = "Recompute roll-ups, budgets' spend and bills from raw data; print every difference; exit 1 on any."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="the report as one JSON object")
        parser.add_argument(
            "--ledger",
            action="store_true",
            help="compare the ledger too (while no calls run)",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        client = redis.Redis.from_url(settings.VALKEY_URL) if options["ledger"] else None
        with psycopg.connect(settings.CONNECTIONS.database_url, autocommit=True) as conn:
            report = verify(conn, client)
            keep(conn, report)
        if options["json"]:
            self.stdout.write(
                json.dumps({"differences": [str(d) for d in report.differences], "checked": list(report.checked)})
            )
        else:
            for difference in report.differences:
                self.stdout.write(str(difference))
            seconds = (report.finished_at - report.started_at).total_seconds()
            self.stdout.write(f"{len(report.differences)} differences in {len(report.checked)} checks, {seconds:.1f} s")
        if report.differences:
            sys.exit(1)
