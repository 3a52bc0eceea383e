"""Budgets: will anything be stopped, and when?"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import accumulate
from zoneinfo import ZoneInfo

from django.http import HttpResponse

from dashboards import figures, numbers
from dashboards.blocks import guarded
from dashboards.budget_figures import LONGEST_LOOK_BACK, RUNS_OUT, BudgetFigure, nested
from dashboards.queries.budgets import spend_over_time, thresholds_passed
from dashboards.queries.canary import canaries
from dashboards.views.easing import easing_of
from dashboards.views.frame import rail_notes
from dashboards.views.overview import shown_budgets
from dashboards.visit import Visit, page, show
from dashboards.window import HOUR, MINUTE, Window, iso
from llmobs.budgets.definition import USD
from llmobs.core.money import NANOUSD_PER_USD

MOST_VALUES = 20  # of an "each" budget that are listed
SHORT = timedelta(hours=6)  # a running sum over no more is drawn by the minute


@page("budgets")
def budgets(visit: Visit) -> HttpResponse:
    """All budgets, most urgent first, and the selected one."""
    found = nested(shown_budgets(visit))
    rail_notes(visit, found)
    asked = visit.request.GET.get("budget", "")
    selected = next((figure for figure in found if str(figure.info.id) == asked), None) or _first(found)
    held = [figure.held for figure in found if figure.info.unit == USD and not figure.info.scope]
    return show(
        visit,
        "dashboards/budgets.html",
        heading="Budgets",
        no_window=True,
        budgets=found,
        stopped=[figure for figure in found if figure.is_stopped],
        refused=sum(figure.refused for figure in found),
        early=[figure for figure in found if figure.urgency == RUNS_OUT],
        held=_held(found) if not held else held[0],
        overspent=sum(figure.overspent for figure in found if figure.info.unit == USD and figure.info.is_blocking),
        selected=selected,
        figure=guarded(visit, "running-sum", lambda: _figure(visit, selected))
        if selected and not selected.is_each
        else None,
        events=_events(visit, selected) if selected else [],
        values=_values(selected) if selected else [],
        easing=easing_of(visit, selected) if selected else None,
        canary=canaries(visit.cursor) if visit.seen.is_operator else None,
    )


def _first(found: Sequence[BudgetFigure]) -> BudgetFigure | None:
    """The most urgent one that has a running sum to show."""
    return next((figure for figure in found if not figure.is_each), found[0] if found else None)


def _held(found: Sequence[BudgetFigure]) -> int | None:
    """The largest hold of a money budget: budgets overlap, so that a sum would count calls twice."""
    held = [figure.held for figure in found if figure.info.unit == USD]
    known = [amount for amount in held if amount is not None]
    return max(known) if known else (0 if not held else None)


def _figure(visit: Visit, figure: BudgetFigure | None) -> figures.Figure | None:
    if figure is None or figure.is_each:
        return None
    start = max(figure.start, visit.now - LONGEST_LOOK_BACK)
    zone = ZoneInfo(figure.info.zone)
    step, found = HOUR, spend_over_time(visit.cursor, figure.info, start, visit.now)
    first = start if figure.end is not None else min([row.at for row in found] or [start])
    if visit.now - first <= SHORT:
        step, found = MINUTE, spend_over_time(visit.cursor, figure.info, max(first, start), visit.now, MINUTE)
    start = figure.start if figure.end is not None else min([row.at for row in found] or [first])
    sums = list(accumulate(row.amount for row in found))
    # What came before the look-back, or is settled and not yet written, is known as a sum alone.
    offset = max(figure.spent - (sums[-1] if sums else 0), 0) if figure.end is None else 0
    points: list[tuple[datetime, int]] = [(start, offset)]
    for row, total in zip(found, sums, strict=True):  # flat until a bucket begins, its sum is reached at its end
        points += [(row.at, points[-1][1]), (min(row.at + step, visit.now), offset + total)]
    points = [*_thinned(points), (visit.now, figure.spent)]
    window = Window(start, figure.end or visit.now, zone)
    is_usd = figure.info.unit == USD
    ask = {"budget": str(figure.info.id), "since": iso(figure.start)}
    drawn = figures.running_sum(
        window,
        points,
        visit.now,
        figure.info.limit,
        figure.info.thresholds,
        figure.forecast,
        1e9 if is_usd else 1,
        partial(_write_usd, exact=figure.info.limit < NANOUSD_PER_USD) if is_usd else _write_tokens,
        ask,
    )
    # Where a click on each line leads: a point of the sum with its time, in the budget's zone.
    foretold = visit.url("explain", budget=ask["budget"], forecast=1)
    drawn.json["why"] = {"spent": f"{visit.url('explain', **ask)}&until=", "forecast": foretold}
    return drawn


def _thinned(points: list[tuple[datetime, int]]) -> list[tuple[datetime, int]]:
    step = max(1, len(points) // figures.MOST_POINTS)
    return points[::step]


def _write_usd(value: float, exact: bool) -> str:
    """Cents, or three digits where the budget is of less than a dollar."""
    nanousd = round(value * NANOUSD_PER_USD)
    if exact:
        return numbers.money(nanousd)
    return numbers.round_money(nanousd) if value == int(value) else numbers.rough_money(nanousd)


def _write_tokens(value: float) -> str:
    return numbers.short_count(round(value))


def _events(visit: Visit, figure: BudgetFigure) -> list[tuple[datetime, str, str, str]]:
    """(when, what, shape, state) of this budget's thresholds, newest first."""
    since = max(figure.start, visit.now - LONGEST_LOOK_BACK)
    found = thresholds_passed(visit.cursor, (figure.info.tenant_id,), since, figure.info.id)
    return [
        (
            event.at,
            " · ".join(part for part in (f"{event.threshold} %", event.value) if part),
            "bad" if event.threshold >= 100 else "warn",
            "told" if event.alerted_at else "waits",
        )
        for event in found
    ]


def _values(figure: BudgetFigure) -> list[tuple[str, int, float, str]]:
    """Largest spenders of an "each" budget: (value, spent, share, colour)."""
    limit = figure.info.limit
    found = []
    for value in figure.values[:MOST_VALUES]:
        share = value.spent / limit if limit else 1.0
        colour = "bad" if share >= 1 else "neutral"
        found.append((value.applied.value or "unknown", value.spent, share, colour))
    return found if figure.is_each else []
