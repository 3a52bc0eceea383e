"""What needs a person, most urgent first: at most three on the overview, the rest counted."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.urls import reverse

from dashboards import numbers
from dashboards.budget_figures import RUNS_OUT, STOPPED, BudgetFigure
from dashboards.queries.costs import Unpriced
from dashboards.queries.freshness import Freshness
from dashboards.queries.letters import waiting_letters
from dashboards.usual import Spike
from dashboards.visit import Visit

MOST_SHOWN = 3
RANK = {"bad": 0, "warn": 1, "unknown": 2}


@dataclass(frozen=True)
class Notice:
    """A sentence: `strong` is the fact, `rest` since when and what follows; `short` is for the phone."""

    kind: str
    strong: str
    rest: str
    short: str
    url: str
    word: str


def notices(
    visit: Visit,
    budgets: Sequence[BudgetFigure],
    unpriced: Sequence[Unpriced],
    unreported: int,
    ongoing: Spike | None,
    fresh: Freshness,
) -> list[Notice]:
    """Everything that is worth a notice, most urgent first. `unreported`: of the unpriced, those without usage."""
    found = [*_fresh(visit, fresh), *letter_notices(visit), *_budgets(visit, budgets)]
    if ongoing is not None:
        since = visit.local(ongoing.start)
        rest = f" since {since:%H:%M}: {ongoing.failed} calls failed, at worst {numbers.share(ongoing.peak)}."
        url = visit.url("traces", status="failed", **{"from": _iso(visit, ongoing)})
        found.append(Notice("bad", "Errors spike", rest, "error spike", url, "Traces"))
    if unpriced:
        calls = sum(row.calls for row in unpriced)
        models = ", ".join(dict.fromkeys(row.model or "no model named" for row in unpriced[:3]))
        rest = f" ({models}). Their cost is unknown and in no sum."
        url = visit.url("costs")
        if priceless := calls - unreported:
            noun = "1 call has" if priceless == 1 else f"{numbers.count(priceless)} calls have"
            more = f" {_without_usage(unreported)}, too." if unreported else ""
            found.append(Notice("unknown", f"{noun} no price", rest + more, f"{priceless} unpriced", url, "Costs"))
        else:
            short = f"{calls} without usage"
            found.append(Notice("unknown", _without_usage(calls), rest, short, url, "Costs"))
    return sorted(found, key=lambda notice: RANK[notice.kind])


def letter_notices(visit: Visit) -> list[Notice]:
    """To operators alone: what could not be written, which they replay or drop in the admin."""
    seen = visit.seen
    waiting = waiting_letters(visit.cursor, seen.tenant_ids, seen.chosen is None) if seen.is_operator else None
    if waiting is None:
        return []
    noun = "1 report" if waiting.count == 1 else f"{numbers.count(waiting.count)} reports"
    rest = f" since {visit.local(waiting.since):%Y-%m-%d %H:%M} and in no sum: replay or drop the dead letters."
    tenant = f"&tenant__id__exact={seen.chosen.pk}" if seen.chosen is not None else ""
    url = f"{reverse('admin:keeping_deadletter_changelist')}?state=waiting{tenant}"
    return [Notice("warn", f"{noun} could not be written", rest, f"{waiting.count} not written", url, "Dead letters")]


def _without_usage(calls: int) -> str:
    return "1 call reported no usage" if calls == 1 else f"{numbers.count(calls)} calls reported no usage"


def _budgets(visit: Visit, budgets: Sequence[BudgetFigure]) -> list[Notice]:
    found = []
    for figure in budgets:
        url = visit.url("budgets", budget=figure.info.id)
        if figure.urgency == STOPPED:
            facts = "; ".join(part for part in (figure.state, figure.detail) if part)
            rest = f": {facts}. Its limit is {figure.limit_words}, {figure.scope_words}."
            found.append(Notice("bad", f"Budget “{figure.name}” stops calls", rest, "1 stopped", url, "Budget"))
        elif figure.urgency == RUNS_OUT and figure.info.is_blocking:
            rest = f": at this rate it {figure.state} ({figure.scope_words})."
            found.append(Notice("warn", f"Budget “{figure.name}” will not last", rest, "runs out", url, "Budget"))
    return found


def _fresh(visit: Visit, fresh: Freshness) -> list[Notice]:
    found = []
    if fresh.behind is not None:
        rest = f": nothing was written since {visit.local(fresh.as_of):%H:%M:%S}. The gateway keeps serving."
        found.append(Notice("bad", "Figures are behind", rest, "behind", visit.url("overview"), "Reload"))
    if fresh.differences:
        rest = f": the roll-ups or budgets do not match the raw spans ({fresh.differences} differences). Run verify."
        found.append(Notice("bad", "Sums do not add up", rest, "differences", visit.url("overview"), "Reload"))
    return found


def _iso(visit: Visit, spike: Spike) -> str:
    return f"{visit.local(spike.start):%Y-%m-%dT%H:%M}"
