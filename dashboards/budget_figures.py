"""A budget as it is shown: spent, held, left, forecast, its state in words, and how urgent it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from dashboards import numbers
from dashboards.queries.budgets import (
    ThresholdPassed,
    current_window,
    refusals_by_budget,
    thresholds_passed,
)
from dashboards.queries.scope import Cursor, Scope
from dashboards.svg import BudgetBar
from dashboards.window import Window
from llmobs.budgets.definition import USD, BudgetInfo, Budgets
from llmobs.budgets.forecast import Forecast
from llmobs.budgets.outlook import Outlook, budget_forecasts
from llmobs.budgets.scope import EACH
from llmobs.budgets.status import Standing, Status, statuses
from llmobs.budgets.valkey import Client
from llmobs.budgets.window import window_words
from llmobs.core.clock import ns_from_utc
from llmobs.core.money import NANOUSD_PER_USD

# Most urgent first.
STOPPED, RUNS_OUT, PAST_THRESHOLD, WITHIN = range(4)
HISTOGRAM_STEPS = 10
LONGEST_LOOK_BACK = timedelta(days=62)  # a lifetime is not read further back for its refusals
NEARLY = 0.8  # of the limit: values above it are counted apart
ACTION_WORDS = {
    "block": "block",
    "downgrade": "a cheaper model",
    "cache_only": "cache only",
    "static": "its own text",
    "alert": "alert only",
}


@dataclass(frozen=True)
class BudgetFigure:
    """One budget's figures in its unit. `held` None: the ledger could not be asked."""

    info: BudgetInfo
    start: datetime
    end: datetime | None
    spent: int
    held: int | None
    values: tuple[Status, ...]  # the largest spenders
    value_count: int  # of all
    forecast: Forecast | None
    runs_out_at: datetime | None  # also of a lifetime, which has no end to foretell
    urgency: int
    kind: str
    state: str
    detail: str
    refused: int
    tenant_name: str = ""  # where figures of several tenants stand together
    depth: int = 0  # below how many parents it is shown

    @property
    def name(self) -> str:
        """experiments; Acme · experiments where several tenants stand together."""
        return f"{self.tenant_name} · {self.info.name}" if self.tenant_name else self.info.name

    @property
    def indent(self) -> str:
        """What stands before the name of a budget below another."""
        return "\u2003" * (self.depth - 1) + "└ "

    @property
    def short_state(self) -> str:
        """The state without its time of day: stopped, runs out 25 Nov."""
        return self.state.partition(" since")[0].partition(",")[0]

    @property
    def is_each(self) -> bool:
        return bool(self.info.each)

    @property
    def left(self) -> int | None:
        """What can still be held; an "each" budget has no one figure."""
        return None if self.is_each else max(self.info.limit - self.spent - (self.held or 0), 0)

    @property
    def forecast_amount(self) -> int | None:
        """What will have been asked for at the window's end; None where it has no end, or too little is known."""
        return self.forecast.amount if self.forecast else None

    @property
    def window_word(self) -> str:
        return window_words(self.info.window)

    @property
    def spent_of(self) -> str:
        """$813 of $1,000."""
        spent = self.amount(self.spent).removesuffix(" tokens")
        if self.info.unit == USD and self.info.limit >= NANOUSD_PER_USD:
            spent = numbers.rough_money(self.spent)
        return f"{spent} of {self.limit_words}" if not self.is_each else f"{spent}, {self.limit_words} each"

    @property
    def limit_words(self) -> str:
        """$1,000, or 5 M tokens."""
        if self.info.unit == USD and self.info.limit >= NANOUSD_PER_USD:
            return numbers.round_money(self.info.limit)
        return self.amount(self.info.limit)

    @property
    def overspent(self) -> int:
        return 0 if self.is_each else max(self.spent - self.info.limit, 0)

    @property
    def is_stopped(self) -> bool:
        return self.urgency == STOPPED

    @property
    def scope_words(self) -> str:
        """month, feature support-agent; day, one for each user."""
        window = window_words(self.info.window)
        if not self.info.scope:
            return f"{window}, the whole tenant"
        parts = [f"one for each {name}" if v == EACH else f"{name} {v}" for name, v in self.info.scope]
        return ", ".join([window, *parts])

    @property
    def action_words(self) -> str:
        return ACTION_WORDS.get(self.info.action, self.info.action)

    @property
    def histogram(self) -> list[int]:
        """How many of the largest values have used 0–10 %, … 90–100 % of the limit."""
        counts = [0] * HISTOGRAM_STEPS
        for value in self.values:
            share = value.spent / self.info.limit if self.info.limit else 1.0
            counts[max(0, min(int(share * HISTOGRAM_STEPS), HISTOGRAM_STEPS - 1))] += 1
        return counts

    @property
    def sentence(self) -> str:
        """What the bar shows, in words."""
        amount = self.amount
        text = f"{amount(self.spent)} spent, {amount(self.held)} held"
        text += f", {amount(self.left)} left of {amount(self.info.limit)}"
        if self.forecast_amount is not None:
            text += f", forecast {amount(self.forecast_amount)}"
        return f"{text}; {self.state}"

    @property
    def bar(self) -> BudgetBar:
        return BudgetBar(
            spent=self.spent,
            held=self.held or 0,
            limit=self.info.limit,
            thresholds=self.info.thresholds,
            forecast=self.forecast_amount,
            is_used_up=self.is_stopped,
            sentence=self.sentence,
        )

    def amount(self, value: int | None) -> str:
        """An amount in the budget's unit, as columns of budgets show it."""
        if self.info.unit == USD:
            # Cents would make a limit of seven and a half cents and what is spent of it look alike.
            return numbers.cents(value) if self.info.limit >= NANOUSD_PER_USD else numbers.money(value)
        return f"{numbers.short_count(value)} tokens"


def budget_figures(
    cursor: Cursor,
    budgets: Budgets,
    scope: Scope,
    now: datetime,
    client: Client | None,
    tenant_names: Mapping[int, str],
    zone: ZoneInfo,
    largest: int | None = None,
) -> list[BudgetFigure]:
    """Every active budget of the tenants in scope, most urgent first. `client` None: the ledger cannot be asked.

    A budget of a tenant in `tenant_names` is shown with that name. `zone`: the page's, in which it says when.
    `largest`: as of `statuses`.
    """
    now_s = int(now.timestamp())
    infos = [info.at(now_s) for info in budgets.infos if info.tenant_id in scope.tenant_ids]
    if not infos:
        return []
    starts = {info.id: current_window(info, now)[0] for info in infos}
    earliest = max(min(starts.values()), now - LONGEST_LOOK_BACK)
    refused = refusals_by_budget(cursor, Scope(scope.tenant_ids, Window(earliest, now, ZoneInfo("UTC"))))
    passed = thresholds_passed(cursor, scope.tenant_ids, min(starts.values()))
    standings = statuses(cursor, client, infos, ns_from_utc(now), largest)
    expected = _expected(cursor, infos, standings, now)
    figures = []
    for info in infos:
        figure = _figure(info, standings[info.id], expected.get(info.id), refused, passed, now, zone)
        figures.append(replace(figure, tenant_name=tenant_names.get(info.tenant_id, "")))
    return sorted(figures, key=lambda figure: (figure.urgency, _soonest(figure), -_share_used(figure), figure.name))


def _expected(
    cursor: Cursor, infos: Sequence[BudgetInfo], standings: Mapping[int, Standing], now: datetime
) -> dict[int, Outlook]:
    """How each budget will stand, all asked at once; those of each value are told by REST and alerts alone."""
    asked = [info for info in infos if not info.each]
    spent = {(info.id, each.applied.value): each.spent for info in asked for each in standings[info.id].values}
    return {each.budget.id: each for each in budget_forecasts(cursor, asked, now, spent, with_path=True)}


def _figure(
    info: BudgetInfo,
    standing: Standing,
    outlook: Outlook | None,
    refused: Mapping[str, tuple[int, datetime]],
    passed: Sequence[ThresholdPassed],
    now: datetime,
    zone: ZoneInfo,
) -> BudgetFigure:
    start, end = current_window(info, now)
    spent, held = standing.spent, standing.held
    expected = outlook.forecast if outlook is not None else None
    refusals, since = refused.get(info.name, (0, now))
    crossed = [event for event in passed if event.budget_id == info.id and event.at >= start]
    since = max(since, start).astimezone(zone)
    urgency, kind, state, detail = _state(info, standing, expected, refusals, since, crossed)
    return BudgetFigure(
        info=info,
        start=start,
        end=end,
        spent=spent,
        held=held,
        values=standing.values,
        value_count=standing.value_count,
        forecast=expected if outlook is not None and outlook.ends_at is not None else None,
        runs_out_at=outlook.exhausts_at if outlook is not None else None,
        urgency=urgency,
        kind=kind,
        state=state,
        detail=detail,
        refused=refusals,
    )


def _state(
    info: BudgetInfo,
    standing: Standing,
    expected: Forecast | None,
    refusals: int,
    since: datetime,
    crossed: Sequence[ThresholdPassed],
) -> tuple[int, str, str, str]:
    zone, spent, held = since.tzinfo, standing.spent, standing.held  # the zone is the page's
    calls = f"{numbers.count(refusals)} {'call' if refusals == 1 else 'calls'} refused"
    if info.each:
        return _state_of_each(info, standing, calls if refusals else "")
    if refusals or (info.is_blocking and spent >= info.limit):
        rest = ": the rest fits no call" if refusals and spent < info.limit else ""
        words = f"stopped since {_when(since, zone)}" if refusals else "used up"
        return STOPPED, "bad", words, f"{calls}{rest}" if refusals else "no call was refused yet"
    newest = max(crossed, key=lambda event: event.threshold, default=None)
    told = ", told" if newest is not None and newest.alerted_at else ""
    detail = f"{newest.threshold} % passed {_when(newest.at, zone)}{told}" if newest else ""
    if spent >= info.limit:
        return PAST_THRESHOLD, "warn", "past its limit", detail
    if expected is not None and expected.passes_at is not None:
        return RUNS_OUT, "warn", f"runs out {_when(expected.passes_at, zone)}", detail
    if newest is not None:
        return PAST_THRESHOLD, "warn", f"past {newest.threshold} %", detail
    return WITHIN, "ok", "within limit", "" if held is not None else "held is unknown: the ledger cannot be asked"


def _state_of_each(info: BudgetInfo, standing: Standing, refused: str) -> tuple[int, str, str, str]:
    values = standing.values
    full = sum(1 for value in values if value.spent >= info.limit)
    near = sum(1 for value in values if info.limit * NEARLY <= value.spent < info.limit)
    # Of more values than are told: what holds of the smallest of these may hold of others.
    has_more = bool(values) and standing.value_count > len(values)
    least = values[-1].spent + (values[-1].held or 0) if has_more else 0  # no other comes to more
    of_full = "at least " if has_more and least >= info.limit else ""
    of_near = "at least " if has_more and least >= info.limit * NEARLY else ""
    noun = info.each[0] if len(info.each) == 1 else "value"
    detail = ", ".join(part for part in (f"{of_near}{near} above 80 %" if near else "", refused) if part)
    if full or refused:
        words = f"{of_full}{full} {noun}{'s' if full != 1 else ''} stopped" if full else "stopped calls"
        return STOPPED, "bad", words, detail
    return (PAST_THRESHOLD, "warn", f"{of_near}{near} above 80 %", "") if near else (WITHIN, "ok", "within limit", "")


def _when(at: datetime, zone: tzinfo | None) -> str:
    return f"{at.astimezone(zone):%-d %b, %H:%M}"


def nested(figures: Sequence[BudgetFigure]) -> list[BudgetFigure]:
    """Each budget below its parent; families stand where their most urgent one would."""
    shown = {figure.info.id: figure for figure in figures}
    children: dict[int | None, list[BudgetFigure]] = {}
    for figure in figures:
        parent = figure.info.parent_id if figure.info.parent_id in shown else None
        children.setdefault(parent, []).append(figure)
    places = {figure.info.id: at for at, figure in enumerate(figures)}

    def family(figure: BudgetFigure, depth: int) -> list[BudgetFigure]:
        below = [family(child, depth + 1) for child in children.get(figure.info.id, ())]
        return [replace(figure, depth=depth), *(each for one in sorted(below, key=first) for each in one)]

    def first(one: Sequence[BudgetFigure]) -> int:
        return min(places[figure.info.id] for figure in one)

    return [each for one in sorted((family(top, 0) for top in children.get(None, ())), key=first) for each in one]


def _soonest(figure: BudgetFigure) -> float:
    return figure.runs_out_at.timestamp() if figure.runs_out_at else 0.0


def _share_used(figure: BudgetFigure) -> float:
    return figure.spent / figure.info.limit if figure.info.limit else 1.0
