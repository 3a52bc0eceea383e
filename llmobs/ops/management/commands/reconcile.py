"""`manage.py reconcile`: take in providers' reports, fetch them, compare a month; print each difference by name."""

from argparse import ArgumentParser
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from llmobs.core.money import exact_usd
from llmobs.reconcile import tasks
from llmobs.reconcile.accounts import account_named
from llmobs.reconcile.api import take_in
from llmobs.reconcile.matching import Outcome, reconcile_month
from llmobs.reconcile.models import Account, Month
from llmobs.reconcile.naming import by_name
from llmobs.reconcile.rows import ReportError
from llmobs.tenants.plain_connection import plain_connection

ACTOR = "command line"


class Command(BaseCommand):
    help = "Compare what providers bill with the ledger, and name each difference."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="what", required=True)
        taking = commands.add_parser("import", help="take in reports, and reconcile their months")
        taking.add_argument("files", nargs="+", metavar="FILE", help="pages of JSON, or CSV")
        taking.add_argument("--provider", required=True, help="the account, or one of its providers")
        fetching = commands.add_parser("fetch", help="ask providers for their reports now")
        comparing = commands.add_parser("run", help="reconcile a month with the bills as they are now")
        comparing.add_argument("--month", required=True, help="YYYY-MM")
        for each in (fetching, comparing):
            each.add_argument("--provider", default="", help="one account alone")

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['what']}")(options)
        except ReportError as error:
            raise CommandError(str(error)) from None

    def _import(self, options: dict[str, Any]) -> None:
        for name in options["files"]:
            try:
                data = Path(name).read_bytes()
            except OSError as error:
                raise CommandError(f"{name} cannot be read: {error.strerror}") from None
            found = take_in(options["provider"], data, Path(name).name, ACTOR)
            said = "taken in" if found.is_new else "had already, nothing changed"
            self.stdout.write(f"{found.form}, {found.first_day} to {found.last_day}, {found.rows} lines: {said}")
        with transaction.atomic():
            account_id = account_named(plain_connection(), options["provider"])
        for month in Month.objects.filter(account=account_id, is_due=True).order_by("first_day"):
            self._tell(account_id, month.first_day)

    def _fetch(self, options: dict[str, Any]) -> None:
        accounts = Account.objects.filter(is_enabled=True).exclude(credential="")
        if options["provider"]:
            accounts = accounts.filter(name=options["provider"])
        if not accounts:
            raise CommandError("No account has an admin key; give it one in the admin, under Provider accounts.")
        wrong = 0
        for account in accounts:
            if tasks.fetch(account, timezone.now()):
                self.stdout.write(f"{account.name}: fetched")
            else:
                wrong += 1
                self.stderr.write(f"{account.name}: {account.fetch_error}")
        while tasks.reconcile_one(timezone.now()):
            pass
        if wrong:
            raise CommandError(f"{wrong} of {len(accounts)} accounts could not be fetched.")

    def _run(self, options: dict[str, Any]) -> None:
        try:
            first_day = date.fromisoformat(f"{options['month']}-01")
        except ValueError:
            raise CommandError(f"{options['month']!r} is no month, such as 2026-11.") from None
        accounts = Account.objects.filter(is_enabled=True)
        for account in accounts.filter(name=options["provider"]) if options["provider"] else accounts:
            self._tell(account.pk, first_day)

    def _tell(self, account_id: int, first_day: date) -> None:
        with transaction.atomic():
            outcome = reconcile_month(plain_connection(), account_id, first_day, timezone.now())
        account = Account.objects.get(pk=account_id)
        self.stdout.write(f"{account.name}, {first_day:%Y-%m}: {outcome.compared_days} days compared")
        for line in _lines(outcome):
            self.stdout.write(line)


def _lines(outcome: Outcome) -> list[str]:
    found = [f"  theirs {_usd(outcome.theirs)}, ours {exact_usd(outcome.ours)} USD"]
    found += [f"  {name}: {_usd(amount)}" for name, amount in by_name(outcome.parts).items()]
    return [*found, f"  residual: {outcome.residual.scaleb(-9):.2f}"]


def _usd(nanousd: Any) -> str:
    return f"{nanousd.scaleb(-9):.9f}".rstrip("0").rstrip(".")
