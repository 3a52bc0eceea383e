"""Costs: who spent what, on what, and is it right?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpResponse

from dashboards import figures, numbers
from dashboards.asked import others_of
from dashboards.blocks import Failed, guarded
from dashboards.columns import month_forecast
from dashboards.figures import Series
from dashboards.panel import KIND_WORDS
from dashboards.queries.costs import (
    DIMENSIONS,
    PaidFor,
    cost_by,
    cost_by_bucket,
    key_names,
    paid_for,
    unreported_calls,
)
from dashboards.queries.rollup import Totals, first_call_at, last_call_at, total, totals
from dashboards.queries.scope import Filters, Scope, asks
from dashboards.queries.slots import colour, slots_of
from dashboards.views.frame import filter_choices, gateway_address
from dashboards.visit import Visit, page, show
from dashboards.window import bucket_starts, month_end
from llmobs.budgets.forecast import Forecast

MOST_SHOWN = 50
OTHERS_SAY = (
    "calls",
    "cost_nanousd",
    "uncached_input_tokens",
    "cache_read_input_tokens",
    "cache_write_5m_input_tokens",
    "cache_write_1h_input_tokens",
    "output_tokens",
)
COLOURED = 8  # models with a colour of their own in the chart; the rest is "other"
LEAST_SHARE = 0.01
MOMENT = timedelta(microseconds=1)
SECOND_LEVEL = {"model": "feature"}  # of any other dimension: the model
EMPTY_WORDS = {"feature": "no feature", "user": "no user", "key": "no key of ours", "environment": "no environment"}


@dataclass(frozen=True)
class Row:
    """One value of the dimension, or one of its second level."""

    name: str
    sums: Totals
    before: int | None
    spark: Sequence[float]
    colour: str
    url: str
    opens: str = ""
    is_open: bool = False
    is_child: bool = False
    asked: Mapping[str, str] = field(default_factory=dict)  # a child's: what explains it, beside the filters

    @property
    def per_call(self) -> int | None:
        priced = self.sums.calls - self.sums.unpriced_calls
        return round(self.sums.cost_nanousd / priced) if priced > 0 else None

    @property
    def cost(self) -> int | None:
        """None where no call has a price."""
        return None if self.sums.calls and self.sums.calls == self.sums.unpriced_calls else self.sums.cost_nanousd

    @property
    def change(self) -> str:
        return numbers.change(self.sums.cost_nanousd, self.before)

    @property
    def is_rising(self) -> bool:
        return bool(self.before) and self.sums.cost_nanousd > 1.3 * (self.before or 0)


@dataclass(frozen=True)
class Paid:
    """What was paid for: (kind in words, sums, share of the largest). `saved_nanousd` None: nothing was cached."""

    lines: list[tuple[str, PaidFor, float]]
    total_nanousd: int
    saved_nanousd: int | None


@page("costs", default_window="month")
def costs(visit: Visit) -> HttpResponse:
    """Sums, the chart by model, what was paid for, and who spent it."""
    first_at = first_call_at(visit.cursor, visit.seen.tenant_ids)
    if first_at is None:
        return show(visit, "dashboards/overview_empty.html", heading="Costs", gateway=gateway_address())
    spent = total(visit.cursor, visit.scope)
    if not spent.calls and not spent.cost_nanousd:
        return _nothing(visit)
    before = visit.scope_of(visit.window.before())
    by = visit.request.GET.get("by", "feature")
    by = by if by in DIMENSIONS else "feature"
    expected = month_forecast(visit, spent.cost_nanousd) if visit.window.last == "month" else None
    comparable = first_at <= before.window.start
    paid = guarded(visit, "paid-for", lambda: _paid(visit))
    rows = guarded(
        visit, "who", lambda: _rows(visit, by, before if comparable else None, visit.request.GET.get("open"))
    )
    return show(
        visit,
        "dashboards/costs.html",
        heading="Costs",
        choices=filter_choices(visit),
        spent=spent,
        unreported=guarded(
            visit, "unreported", lambda: unreported_calls(visit.cursor, visit.scope, spent.unpriced_calls)
        ),
        change=numbers.change(spent.cost_nanousd, total(visit.cursor, before, ("cost_nanousd",)).cost_nanousd)
        if comparable
        else "",
        expected=expected,
        month_end=month_end(visit.now, visit.zone) - MOMENT,
        figure=guarded(visit, "chart", lambda: _figure(visit, expected)),
        paid=paid,
        by=by,
        tabs=[(name, visit.url("costs", by=name)) for name in DIMENSIONS],
        rows=rows,
        others=None if isinstance(rows, Failed) else _others(spent, rows),
        but=None if isinstance(rows, Failed) else _but(by, rows),
    )


def _nothing(visit: Visit) -> HttpResponse:
    last = last_call_at(visit.cursor, visit.seen.tenant_ids)
    there = visit.local(last) if last else None
    start = there.replace(hour=0, minute=0, second=0) if there else None
    url = visit.url("costs", **{"from": f"{start:%Y-%m-%dT%H:%M}"}) if start else ""
    return show(
        visit, "dashboards/costs_empty.html", heading="Costs", choices=filter_choices(visit), last=last, url=url
    )


def _figure(visit: Visit, expected: Forecast | None) -> figures.Figure:
    rows = totals(visit.cursor, visit.scope, ("model",), over_time=True, only=("cost_nanousd",))
    starts = visit.window.starts()
    sums: dict[str, int] = {}
    for row in rows:
        sums[row.key[0]] = sums.get(row.key[0], 0) + row.cost_nanousd
    whole = sum(sums.values())
    slots = slots_of(visit.primary, [name for name, cost in sums.items() if cost])
    named = [
        n for n, cost in sorted(sums.items(), key=lambda item: -item[1]) if cost >= LEAST_SHARE * whole and cost > 0
    ]
    shown = [name for name in named if 1 <= slots.get(name, 0) <= COLOURED]
    series = [Series(name, colour(slots[name]), _values(rows, starts, name), {"model": name}) for name in shown]
    rest = [sum(row.cost_nanousd for row in rows if row.at == at and row.key[0] not in shown) for at in starts]
    if any(rest):
        series.append(Series("other", "c-other", rest, {"not_model": others_of(shown)} if shown else {}))
    return figures.stacked_costs(visit.window, series, _coming(visit, expected))


def _coming(visit: Visit, expected: Forecast | None) -> list[tuple[datetime, int]]:
    """What each day until the month's end will still cost."""
    if expected is None or not visit.window.is_by_day:
        return []
    end = month_end(visit.now, visit.zone)
    days = bucket_starts(visit.window.floor(visit.now), end, visit.window.bucket, visit.zone)
    found = dict.fromkeys(days, 0)
    before = expected.points[0].amount
    for point in expected.points:
        day = visit.window.floor(point.at - MOMENT)  # a point is at the end of its hour
        found[day] += point.amount - before
        before = point.amount
    return list(found.items())


def _values(rows: Sequence[Totals], starts: Sequence[datetime], name: str) -> list[int]:
    by_bucket = {row.at: row.cost_nanousd for row in rows if row.key[0] == name}
    return [by_bucket.get(at, 0) for at in starts]


def _rows(visit: Visit, by: str, before: Scope | None, opened: str | None) -> list[Row]:
    found = [row for row in cost_by(visit.cursor, visit.scope, by) if row.calls or row.cost_nanousd]
    earlier = {row.key[0]: row.cost_nanousd for row in cost_by(visit.cursor, before, by)} if before else {}
    names = _names(visit, by, found)
    over_time = cost_by_bucket(visit.cursor, visit.scope, by)
    starts = visit.window.starts()
    slots = slots_of(visit.primary, [row.key[0] for row in found[:MOST_SHOWN]]) if by == "model" else {}
    rows = []
    for sums in found[:MOST_SHOWN]:
        value = sums.key[0]
        is_open = opened is not None and str(value) == opened
        rows.append(
            Row(
                name=names.get(value) or EMPTY_WORDS.get(by, "not named"),
                sums=sums,
                before=earlier.get(value),
                spark=[float(v) for v in _values(over_time, starts, value)],
                colour=colour(slots.get(value)) if by == "model" else "neutral",
                url=visit.url("traces", **{by: value or None}),
                opens=visit.url("costs", by=by, open=None if is_open else str(value)),
                is_open=is_open,
            )
        )
        if is_open:
            rows += _children(visit, by, value, before)
    return rows


def _others(spent: Totals, rows: Sequence[Row]) -> Totals | None:
    """What the rows leave out of the sum: values beyond MOST_SHOWN, and calls that name none."""
    shown = [row.sums for row in rows if not row.is_child]
    rest = {name: getattr(spent, name) - sum(getattr(row, name) for row in shown) for name in OTHERS_SAY}
    return replace(spent, **rest) if rest["calls"] or rest["cost_nanousd"] else None


def _but(by: str, rows: Sequence[Row]) -> dict[str, str]:
    """What explains the others: all values but those of these rows."""
    return {f"not_{by}": others_of([row.sums.key[0] for row in rows if not row.is_child])}


def _children(visit: Visit, by: str, value: Any, before: Scope | None) -> list[Row]:
    """The second level: a value's cost by model (a model's by feature)."""
    second = SECOND_LEVEL.get(by, "model")
    scope = _within(visit.scope, by, value)
    found = cost_by(visit.cursor, scope, second)
    earlier = (
        {row.key[0]: row.cost_nanousd for row in cost_by(visit.cursor, _within(before, by, value), second)}
        if before
        else {}
    )
    over_time = cost_by_bucket(visit.cursor, scope, second)
    slots = slots_of(visit.primary, [sums.key[0] for sums in found]) if second == "model" else {}
    return [
        Row(
            name=sums.key[0] or EMPTY_WORDS.get(second, "not named"),
            sums=sums,
            before=earlier.get(sums.key[0]),
            spark=[float(v) for v in _values(over_time, visit.window.starts(), sums.key[0])],
            colour=colour(slots.get(sums.key[0])) if second == "model" else "neutral",
            url=visit.url("traces", **{by: value or None, second: sums.key[0] or None}),
            is_child=True,
            asked=asks({by: value, second: sums.key[0]}),
        )
        for sums in found
    ]


def _within(scope: Scope, by: str, value: Any) -> Scope:
    return Scope(scope.tenant_ids, scope.window, Filters(**{**scope.filters.given, by: value}))


def _names(visit: Visit, by: str, found: Sequence[Totals]) -> Mapping[Any, str]:
    if by == "key":
        return key_names(visit.cursor, [row.key[0] for row in found])
    return {row.key[0]: str(row.key[0]) for row in found}


def _paid(visit: Visit) -> Paid:
    found = paid_for(visit.cursor, visit.scope)
    most = max((row.cost_nanousd or 0 for row in found), default=0)
    by_kind = {row.kind: row for row in found}
    return Paid(
        lines=[(KIND_WORDS[row.kind], row, (row.cost_nanousd or 0) / most if most else 0.0) for row in found],
        total_nanousd=sum(row.cost_nanousd or 0 for row in found),
        saved_nanousd=by_kind["cache_read"].saved_nanousd if "cache_read" in by_kind else None,
    )
