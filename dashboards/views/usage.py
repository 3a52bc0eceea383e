"""Usage: what is to be charged to whom? The same rows as `/api/v1/usage/`, and a month's statement to print."""

import re
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.urls import reverse

from dashboards.api.usage import naming_of
from dashboards.api.usage_formats import Naming
from dashboards.blocks import Failed, guarded
from dashboards.queries.costs import unbilled_calls
from dashboards.queries.scope import Scope, asks
from dashboards.queries.usage import GROUPS, TIMES, UsageRow, dearest, usage_total
from dashboards.views.frame import filter_choices
from dashboards.visit import Visit, page, show
from dashboards.window import HOUR, Window, iso, month_end

MOST_SHOWN = 100
SHOWN_AT_FIRST = ("feature", "model", "month")
FORMATS = (("csv", "CSV"), ("parquet", "Parquet"), ("json", "JSON"))
MOST_OF_STATEMENT = 500
MONTHS = 12


@page("usage", default_window="month")
def usage(visit: Visit) -> HttpResponse:
    """Dimensions to pick, the dearest rows with the sum of all, and the whole to download."""
    asked = [name for name in visit.request.GET.getlist("by") if name in GROUPS]
    times = [name for name in asked if name in TIMES]
    groups = tuple(name for name in dict.fromkeys(asked) if name not in times[1:]) or SHOWN_AT_FIRST
    rows = guarded(visit, "usage", lambda: _rows(visit, groups))
    total = guarded(visit, "total", lambda: usage_total(visit.cursor, visit.scope))
    requests = None if isinstance(total, Failed) else total.requests
    return show(
        visit,
        "dashboards/usage.html",
        heading="Usage",
        choices=filter_choices(visit),
        groups=groups,
        picks=[(name, name in groups) for name in GROUPS if name not in TIMES],
        times=[(name, name in groups) for name in TIMES],
        rows=rows,
        total=total,
        unbilled=requests is not None
        and guarded(visit, "unbilled", lambda: unbilled_calls(visit.cursor, visit.scope, requests)),
        downloads=[(word, _download(visit, groups, kind)) for kind, word in FORMATS],
        most=MOST_SHOWN,
        months=_months(visit),
    )


def _rows(visit: Visit, groups: tuple[str, ...]) -> list[tuple[list[str], UsageRow, dict[str, str]]]:
    naming = naming_of(visit.scope, groups)
    found = dearest(visit.cursor, visit.scope, groups, MOST_SHOWN)
    return [(_words(row, groups, naming), row, _asked(visit.scope, row, groups, naming)) for row in found]


def _asked(scope: Scope, row: UsageRow, groups: tuple[str, ...], naming: Naming) -> dict[str, str]:
    """What a row's explanation is asked with, beside the filters."""
    window, asked = scope.window, {"from": iso(scope.window.start), "to": iso(scope.window.end)}
    values: dict[str, Any] = {}
    for name, raw in zip(groups, row.key, strict=True):
        if name == "tenant":
            asked["tenant"] = naming.tenants.get(raw, "")
        elif name in TIMES:
            start, end = _time_of(name, raw, naming.zone)
            asked |= {"from": iso(max(start, window.start)), "to": iso(min(end, window.end))}
        else:
            values[name] = raw
    return asked | asks(values)


def _time_of(unit: str, raw: Any, zone: tzinfo) -> tuple[datetime, datetime]:
    if unit == "hour":
        return raw, raw + HOUR
    first = datetime(raw.year, raw.month, raw.day, tzinfo=zone)
    if unit == "month":
        return first, (first + timedelta(days=32)).replace(day=1)
    return first, first + timedelta(days=1)


def _words(row: UsageRow, groups: tuple[str, ...], naming: Naming) -> list[str]:
    return [_word(naming.value(name, raw)) for name, raw in zip(groups, row.key, strict=True)]


def _word(value: Any) -> str:
    return f"{value:%-d %b %Y, %H:%M}" if isinstance(value, datetime) else str(value) if value is not None else "–"


def _download(visit: Visit, groups: tuple[str, ...], kind: str) -> str:
    tenant = {"tenant": visit.seen.chosen.slug} if visit.seen.chosen else {}
    given = {name: str(value) for name, value in visit.filters.given.items() if name != "search"}
    query = {"group_by": ",".join(groups), "format": kind, **visit.window.fixed_query, **given, **tenant}
    return "/api/v1/usage/?" + urlencode(query | ({"whole": "true"} if kind == "json" else {}))


def _months(visit: Visit) -> list[tuple[str, str]]:
    """(month in words, its statement's address), this one first."""
    found, at = [], visit.local(visit.now).replace(day=1)
    for _ in range(MONTHS):
        found.append((f"{at:%B %Y}", f"{reverse('dashboards:statement')}?month={at:%Y-%m}"))
        at = (at - timedelta(days=1)).replace(day=1)
    return found


@page("usage", default_window="month")
def statement(visit: Visit) -> HttpResponse:
    """One month by tenant and feature, with each feature's models: to print, or to send."""
    month = _month(visit)
    scope = visit.scope_of(month)
    groups = ("tenant", "feature", "model")
    naming = naming_of(scope, groups)
    found = dearest(visit.cursor, scope, groups, MOST_OF_STATEMENT)
    shown = sorted(
        ((_words(row, groups, naming), row, _asked(scope, row, groups, naming)) for row in found),
        key=lambda line: line[0],
    )
    return show(
        visit,
        "dashboards/statement.html",
        heading=f"Statement of {visit.local(month.start):%B %Y}",
        no_window=True,
        month=month,
        lines=shown,
        total=usage_total(visit.cursor, scope),
        is_cut=len(found) == MOST_OF_STATEMENT,
        download=_download(replace(visit, window=month), groups, "csv"),
    )


def _month(visit: Visit) -> Window:
    """The month that the address names, else this one; until now where it has not ended."""
    first = visit.local(visit.now).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if named := re.fullmatch(r"(20\d\d)-(0[1-9]|1[0-2])", visit.request.GET.get("month", "")):
        first = datetime(int(named[1]), int(named[2]), 1, tzinfo=visit.zone)
    return Window(first, month_end(first, visit.zone), visit.zone)
