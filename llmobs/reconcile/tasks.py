"""Celery's side: fetch what is due, reconcile what is due. Both are rows; a wake-up that is lost loses nothing."""

from datetime import date, datetime, timedelta

import structlog
from celery import shared_task
from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Q
from django.utils import timezone

from llmobs.providers.credentials import CredentialError, open_credential
from llmobs.reconcile.fetching import FetchError, Source, fetch_reports
from llmobs.reconcile.importing import Came, ask_for, import_report
from llmobs.reconcile.matching import reconcile_month
from llmobs.reconcile.models import Account, Month
from llmobs.reconcile.rows import ReportError
from llmobs.tenants.plain_connection import plain_connection

log = structlog.get_logger()

EVERY = timedelta(days=1)
FIRST_PAUSE = timedelta(minutes=15)  # doubled each time, up to a day
MOST_FAILURES = 7
# Providers still correct the days before; what they say anew of these takes the place of the older.
DAYS_AGAIN = 7
DAYS_AT_FIRST = 62
FETCHED = "fetched"


@shared_task(name="reconcile.fetch_due", ignore_result=True)
def fetch_due() -> None:
    """Every hour, by beat: accounts that have an admin key, once a day."""
    while (account := _claim(timezone.now())) is not None:
        fetch(account, timezone.now())


@shared_task(name="reconcile.reconcile_due", ignore_result=True)
def reconcile_due() -> None:
    """Every minute, by beat: months whose reports have changed."""
    while reconcile_one(timezone.now()):
        pass


def _claim(now: datetime) -> Account | None:
    """The account that is due longest; its next time is moved ahead before it is asked for."""
    with transaction.atomic():
        account = (
            Account.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(Q(next_fetch_at__isnull=True) | Q(next_fetch_at__lte=now), is_enabled=True)
            .exclude(credential="")
            .order_by("next_fetch_at", "pk")
            .first()
        )
        if account is not None:
            account.next_fetch_at = now + EVERY
            account.save(update_fields=["next_fetch_at"])
    return account


def fetch(account: Account, now: datetime) -> bool:
    """Ask for the days that are over and take in what came. What goes wrong stands on the account, and on the page."""
    today = now.date()
    first = today - timedelta(days=DAYS_AGAIN if account.fetched_at else DAYS_AT_FIRST)
    try:
        key = open_credential(account.credential, settings.SECRETS.encryption_keys)
        reports = fetch_reports(Source(account.kind, account.base_url, key), first, today)
        with transaction.atomic():
            for report in reports:
                came = Came(report.data, f"{FETCHED}: {report.name}", FETCHED, now)
                import_report(plain_connection(), account.pk, came)
            ask_for(plain_connection(), account.pk, _months(first, today))  # our own bills may be others by now
    except (FetchError, CredentialError, ReportError) as error:
        account.failures = min(account.failures + 1, MOST_FAILURES)
        account.fetch_error = str(error)[:500]
        account.next_fetch_at = now + FIRST_PAUSE * 2 ** (account.failures - 1)
        log.warning("reports cannot be fetched", account=account.name, failures=account.failures, error=str(error))
    else:
        account.failures, account.fetch_error, account.fetched_at = 0, "", now
        account.next_fetch_at = now + EVERY
        log.info("reports fetched", account=account.name, reports=len(reports))
    account.save(update_fields=["failures", "fetch_error", "fetched_at", "next_fetch_at"])
    return not account.fetch_error


def _months(first: date, after: date) -> set[date]:
    days = (first + timedelta(days=n) for n in range((after - first).days))
    return {day.replace(day=1) for day in days}


def reconcile_one(now: datetime) -> bool:
    """Reconcile a month that is due; False when none is."""
    with transaction.atomic():
        month = Month.objects.select_for_update(skip_locked=True).filter(is_due=True).order_by("pk").first()
        if month is None:
            return False
        try:
            with transaction.atomic():
                outcome = reconcile_month(plain_connection(), month.account_id, month.first_day, now)
        except DatabaseError:
            month.is_due = False  # else it would be tried for ever, before all others
            month.save(update_fields=["is_due"])
            log.exception("a month cannot be reconciled", account=month.account_id, month=str(month.first_day))
            return True
    log.info("reconciled", account=month.account_id, month=str(month.first_day), parts=len(outcome.parts))
    return True
