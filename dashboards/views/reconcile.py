"""Reconcile: does the provider's bill match ours, and where not, why?"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.http import HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from dashboards import numbers
from dashboards.blocks import guarded
from dashboards.queries.reconcile import (
    MOST_CELLS,
    PART_WORDS,
    RESIDUAL,
    AccountRow,
    MonthRow,
    PartRow,
    PartSum,
    accounts,
    month,
    months,
    part_sums,
    parts,
)
from dashboards.visit import Visit, page, show

CLASS_WORDS = {
    "uncached_input": "input",
    "cache_read": "cache read",
    "cache_write_5m": "cache write, 5 min",
    "cache_write_1h": "cache write, 1 h",
    "": "the whole bill",
}
MISSING_SHOWN = 6


@dataclass(frozen=True)
class Line:
    """A step of the fall from our sum to theirs."""

    name: str
    title: str
    words: str
    nanousd: int
    part: PartSum | None
    drawn: SafeString
    url: str = ""


@dataclass(frozen=True)
class Detail:
    """A part in words, with the way to the bills behind it."""

    row: PartRow
    token_class: str
    nanousd: int
    words: str
    explained: str  # the way to the bills behind it, and how they come about

    @property
    def theirs(self) -> int | None:
        return _nanousd(self.row.theirs)

    @property
    def ours(self) -> int | None:
        return _nanousd(self.row.ours)


@dataclass(frozen=True)
class Account:
    """An account's card."""

    row: AccountRow
    month: MonthRow | None
    lines: list[Line]
    chosen: str
    details: list[Detail]
    is_cut: bool
    missing: list[tuple[str, str]]

    @property
    def theirs(self) -> int | None:
        return _nanousd(self.month.theirs) if self.month else None

    @property
    def difference(self) -> int | None:
        return _nanousd(self.month.difference) if self.month else None

    @property
    def residual(self) -> str:
        """To the cent, as a bill is paid."""
        if self.month is None or not self.month.compared_days:
            return numbers.UNKNOWN
        return "$0.00" if not self.month.residual else numbers.cents(_nanousd(self.month.residual))


@page("reconcile", default_window="month")
def reconcile(visit: Visit) -> HttpResponse:
    """Each account's month: both sums, the named differences, and the cells of the chosen one."""
    seen = None if visit.seen.is_operator else visit.seen.tenant_ids
    this_month = visit.now.date().replace(day=1)
    known = months(visit.cursor, seen)
    choices = sorted({*known, this_month, (this_month - timedelta(days=1)).replace(day=1)}, reverse=True)
    asked = visit.request.GET.get("month", "")
    chosen = next((day for day in choices if f"{day:%Y-%m}" == asked), known[0] if known else this_month)
    found = accounts(visit.cursor, seen)
    return show(
        visit,
        "dashboards/reconcile.html",
        heading="Reconcile",
        plain_bar=True,
        choices_of_month=choices,
        month=chosen,
        accounts=guarded(visit, "accounts", lambda: _accounts(visit, seen, found, chosen)),
        names=[account.name for account in found],
        repricing=_repricing(),
    )


def _accounts(visit: Visit, seen: Sequence[int] | None, found: Sequence[AccountRow], first_day: date) -> list[Account]:
    rows = month(visit.cursor, seen, first_day)
    return [_account(visit, row, rows.get(row.id), first_day) for row in found]


def _account(visit: Visit, row: AccountRow, found: MonthRow | None, first_day: date) -> Account:
    if found is None or found.computed_at is None:
        return Account(row, found if found and found.is_due else None, [], "", [], False, [])
    asked = visit.request.GET
    chosen = asked.get("name", "") if asked.get("account") == row.name else ""
    details = parts(visit.cursor, found.id, chosen, most=MOST_CELLS + 1) if chosen in PART_WORDS else []
    return Account(
        row,
        found,
        _lines(visit, row, found, part_sums(visit.cursor, found.id), first_day),
        chosen if chosen in PART_WORDS else "",
        [_detail(visit, row, part) for part in details[:MOST_CELLS]],
        len(details) > MOST_CELLS,
        [(kind, _days(days)) for kind, days in found.missing.items() if days],
    )


def _lines(visit: Visit, row: AccountRow, found: MonthRow, sums: Sequence[PartSum], first_day: date) -> list[Line]:
    """Ours, each difference in turn, theirs. What is left without a name comes last, and is told when it is nothing."""
    steps = [(part, part.amount) for part in sums if part.name != RESIDUAL]
    levels = [Decimal(0)]
    for _, amount in steps:
        levels.append(levels[-1] + amount)
    levels.append(levels[-1] + found.residual)
    low, high = min(levels), max(levels)
    lines = []
    for n, (part, amount) in enumerate(steps):
        title, words = PART_WORDS[part.name]
        url = visit.url("reconcile", month=f"{first_day:%Y-%m}", account=row.name, name=part.name)
        drawn = _step(levels[n], levels[n + 1], low, high)
        lines.append(Line(part.name, title, words, _nanousd(amount) or 0, part, drawn, url))
    title, words = PART_WORDS[RESIDUAL]
    left = next((part for part in sums if part.name == RESIDUAL), None)
    url = visit.url("reconcile", month=f"{first_day:%Y-%m}", account=row.name, name=RESIDUAL) if left else ""
    drawn = _step(levels[-2], levels[-1], low, high)
    return [*lines, Line(RESIDUAL, title, words, _nanousd(found.residual) or 0, left, drawn, url)]


def _step(start: Decimal, end: Decimal, low: Decimal, high: Decimal) -> SafeString:
    """A bar from one level to the next, on the scale of all of them."""
    span = high - low or Decimal(1)
    left = 100 * (min(start, end) - low) / span
    width = max(100 * abs(end - start) / span, Decimal("0.6") if start != end else Decimal(0))
    colour = "more" if end > start else "less"
    return format_html(
        '<svg class="fall" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="ground" width="100" height="10"/><rect class="{}" x="{}" width="{}" height="10"/></svg>',
        colour,
        f"{min(left, 100 - width):.2f}",
        f"{width:.2f}",
    )


def _detail(visit: Visit, account: AccountRow, row: PartRow) -> Detail:
    changes: dict[str, Any] = {
        "from": f"{row.day}T00:00Z",
        "to": f"{row.day + timedelta(days=1)}T00:00Z",
        "provider": account.providers[0] if len(account.providers) == 1 else None,
    }
    has_calls = bool(row.our_tokens) and row.name != "outside"
    explained = visit.url("explain", **changes, model=row.model) if has_calls and row.model else ""
    words = CLASS_WORDS.get(row.token_class, row.token_class.replace("_", " "))
    return Detail(row, words, _nanousd(row.amount) or 0, _said(row), explained)


def _said(row: PartRow) -> str:
    """What the detail of a part says, as a sentence."""
    detail = row.detail
    if row.name in ("outside", "not_mapped") and detail.get("key"):
        return f"key {detail['key']}"
    if row.name == "price":
        return f"they bill ${detail['their_rate']}, we ${detail['our_rate']} per million"
    if row.name == "tokens":
        count = int(detail.get("estimated", 0))
        return f"{count} of our bills estimated" if count else "none of our bills estimated"
    if row.name == "time_zone":
        return f"{detail['hours']} h at midnight, {detail['from']} → {detail['to']}"
    if row.name in ("class", "tier") and "from" in detail:
        return f"{_class(detail['from'])} → {_class(detail['to'])}"
    return str(detail.get("line", ""))


def _class(name: object) -> str:
    return CLASS_WORDS.get(str(name), str(name).replace("_", " ")) if name else "standard"


def _days(days: Sequence[str]) -> str:
    """Days in words, the first few of them."""
    shown = ", ".join(f"{date.fromisoformat(day):%-d %b}" for day in days[:MISSING_SHOWN])
    return f"{shown} and {len(days) - MISSING_SHOWN} more" if len(days) > MISSING_SHOWN else shown


def _nanousd(amount: Decimal | None) -> int | None:
    return None if amount is None else round(amount)


def _repricing() -> str:
    """Where a price is corrected for the past, where there is such a page."""
    try:
        return reverse("dashboards:repricing")
    except NoReverseMatch:
        return ""
