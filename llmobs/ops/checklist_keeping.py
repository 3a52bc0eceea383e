"""The launch checklist, keeping: backups and their drill, what should have gone, what waits, what fills the disk."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone

from llmobs.keeping.backup import DRILL, LAST
from llmobs.keeping.connecting import connect
from llmobs.keeping.horizons import SPANS, Connection, Horizon, horizons
from llmobs.keeping.manifest import ArchiveError
from llmobs.keeping.models import Erasure
from llmobs.keeping.place import open_archive
from llmobs.ops.checklist import Item, State

BACKED_UP_WITHIN = timedelta(days=2)
DRILLED_WITHIN = timedelta(days=90)
LATE_AFTER = timedelta(days=1)  # retention runs every six hours
ERASED_WITHIN = timedelta(hours=1)  # workers look every minute
MANY_BYTES = 10 * 1024**3
GIB = 1024**3
MOST_NAMED = 5  # tenants in a row


def keeping() -> Iterator[Item]:
    """Of the installation, as this host sees it."""
    yield _backup()
    yield _drill()
    with connect() as conn:
        found = list(horizons(conn, timezone.now().date()).values())
        archived = [tenant for tenant in found if tenant.archive != "off"]
        yield from _archive(conn, archived)
        yield _retention(conn, [tenant for tenant in found if tenant.archive == "off"])
    yield _erasures()
    yield _dead_letters()
    yield _raw_bodies()
    yield _reread()


def _item(priority: str, is_set: bool, what: str, how: str, found: str = "") -> Item:
    return Item(priority, State.SET if is_set else State.MISSING, what, found if is_set else how)


def _last() -> dict[str, Any]:
    try:
        found = json.loads((settings.PLACE.folder / LAST).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _backup() -> Item:
    what = f"a backup of the last {BACKED_UP_WITHIN.days} days"
    last = _last()
    if not last:
        return Item("P1", State.MISSING, what, "none was made on this host: `manage.py backup DIR`, daily")
    age = timezone.now() - datetime.fromisoformat(last["at"])
    told = f"the last is {_days(age)} old, in {last['folder']}"
    secrets = "" if last["has_secrets"] else "; without secrets: keep secrets.json apart"
    return _item("P1", age <= BACKED_UP_WITHIN, what, f"{told}: `manage.py backup DIR`, daily", told + secrets)


def _drill() -> Item:
    what = f"a backup restored and verified in the last {DRILLED_WITHIN.days} days"
    drills = []
    for folder in _last().get("folders", []):
        try:
            drills.append(json.loads((settings.PLACE.folder / folder / DRILL).read_bytes()))
        except (OSError, ValueError):
            continue
    good = [datetime.fromisoformat(drill["at"]) for drill in drills if drill["differences"] == 0]
    if not good:
        wrong = " (the last one had differences)" if drills else ""
        how = f"none was{wrong}: `manage.py restore DIR --data NEW`, into a folder of its own, then throw NEW away"
        return Item("P2", State.MISSING, what, how)
    age = timezone.now() - max(good)
    told = f"the last {_days(age)} ago"
    return _item("P2", age <= DRILLED_WITHIN, what, f"{told}: `manage.py restore DIR --data NEW`", told)


def _archive(conn: Connection, archived: list[Horizon]) -> Iterator[Item]:
    if not archived:
        return
    what = "days are archived before they go"
    try:
        folder = open_archive(settings.PLACE).folder
    except (ArchiveError, OSError) as error:
        yield Item("P1", State.MISSING, what, f"{error}; nothing is let go meanwhile")
        return
    late = _late(conn, archived)
    how = f"{late} wait: is a worker running, is {folder} writable and not full? Its log says why"
    yield _item("P1", not late, what, how, f"{len(archived)} tenants, in {folder}")


def _retention(conn: Connection, tenants: list[Horizon]) -> Item:
    late = _late(conn, tenants)
    how = f"{late} are past their time and still there: is a worker running (`manage.py up`)? Its log says why"
    return _item("P1", not late, "what nobody keeps any more is let go", how, "every six hours, by a worker")


def _late(conn: Connection, tenants: list[Horizon]) -> str:
    """Whose spans should have gone, each with the oldest day; days that were brought back from archives left out."""
    found = []
    for tenant in tenants:
        oldest = tenant.days[SPANS]
        if oldest is None:
            continue
        until = _midnight(oldest - LATE_AFTER)
        row = conn.execute(
            "SELECT start::date FROM span s WHERE tenant_id = %s AND start < %s AND NOT EXISTS (SELECT FROM "
            "restored_day r WHERE r.tenant_id = s.tenant_id AND r.day = (s.start AT TIME ZONE 'UTC')::date) "
            "ORDER BY start LIMIT 1",
            (tenant.tenant_id, until),
        ).fetchone()
        if row is not None:
            found.append(f"{tenant.slug}'s spans since {row[0]}")
    return ", ".join(found[:5])


def _erasures() -> Item:
    what = "people who were to be erased are"
    late = Erasure.objects.filter(finished_at=None, asked_at__lt=timezone.now() - ERASED_WITHIN).order_by("pk").first()
    if late is None:
        return Item("P0", State.SET, what)
    why = late.error or "no worker has looked at it: `manage.py up`"
    return Item("P0", State.MISSING, what, f"erasure {late.pk} waits since {late.asked_at:%Y-%m-%d %H:%M}: {why}")


def _dead_letters() -> Item:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), min(at) FROM dead_letter WHERE replayed_at IS NULL")
        count, since = cursor.fetchone()
    what = "everything that came was written"
    if not count:
        return Item("P1", State.SET, what)
    letters = f"{count} dead {'letter waits' if count == 1 else 'letters wait'} since {since:%Y-%m-%d}"
    how = f"{letters}: `manage.py deadletters list` says why; after an upgrade `manage.py deadletters replay --all`"
    return Item("P1", State.MISSING, what, how)


def _raw_bodies() -> Item:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size('raw_body'), (SELECT count(*) FROM tenants_tenant "
                       "WHERE content = 'full' AND raw_body_days > 0)")  # fmt: skip
        size, tenants = cursor.fetchone()
    told = f"{size / GIB:.2f} GiB, of {tenants} tenants"
    how = f"{told}: a smaller `raw_body_days` keeps them for fewer days"
    return _item("P2", size <= MANY_BYTES, "bodies as they came take little room", how, told)


def _reread() -> Item:
    """Whose reported bodies are kept for `manage.py remap`. To keep none is a choice too: P2, and one tenant's do."""
    what = "the past can be re-mapped, should an adapter become better"
    with connection.cursor() as cursor:
        cursor.execute("SELECT slug, content = 'full', raw_body_days FROM tenants_tenant WHERE is_active ORDER BY slug")
        tenants = cursor.fetchall()
    kept = _named([f"{slug} ({_days(timedelta(days))})" for slug, is_full, days in tenants if is_full and days])
    lacking = _named([f"{slug} ({_why(is_full, days)})" for slug, is_full, days in tenants if not (is_full and days)])
    of = [f"of {kept}"] if kept else []
    if lacking:
        to_do = "set `content: full` and `raw_body_days` of a tenant whose text may be kept"
        of.append(f"not of {lacking}: {to_do}")
    return Item("P2", State.SET if kept else State.MISSING, what, "; ".join(of) or "there is no tenant yet")


def _why(is_full: bool, days: int) -> str:
    reasons = ["" if is_full else "`content` is not full", "" if days else "`raw_body_days` is 0"]
    return ", ".join(reason for reason in reasons if reason)


def _named(found: list[str]) -> str:
    """The first of them, and how many more."""
    more = len(found) - MOST_NAMED
    return ", ".join(found[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _days(age: timedelta) -> str:
    return f"{age.days} days" if age.days != 1 else "1 day"


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
