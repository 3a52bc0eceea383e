"""Alerts: what needs a person, since when, and who was told?"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from django.http import HttpResponse

from dashboards.blocks import guarded
from dashboards.queries.alerts import FILTERS, AlertRow, DeliveryRow, Whose, alerts, channels, deliveries, one_alert
from dashboards.visit import Visit, page, show, whose_alerts
from llmobs.tenants import access

SHAPES = {"critical": "bad", "warning": "warn", "info": "unknown"}
DELIVERED = {"sent": "ok", "waiting": "warn", "given_up": "bad"}
MOST_OF_RULE, SHOWN_OF_RULE = 5, 3  # of one rule and tenant: of more so many are listed
TEST_KEY = "alerts.test"  # in the session: what became of a test, until it is shown


@dataclass(frozen=True)
class Line:
    """An alert with what may be done about it here."""

    row: AlertRow
    may_change: bool
    more: int = 0  # of its rule, which are not listed after it

    @property
    def shape(self) -> str:
        return "ok" if self.row.state == "resolved" else SHAPES.get(self.row.severity, "warn")

    @property
    def kind_words(self) -> str:
        return self.row.kind.replace("_", " ")

    @property
    def facts(self) -> list[tuple[str, Any]]:
        """What it is made of, as people read it."""
        told = [(name.replace("_", " "), value) for name, value in self.row.body.items() if value not in (None, "", [])]
        return [(name, ", ".join(map(str, v)) if isinstance(v, list) else v) for name, v in told if name != "kind"]


@dataclass(frozen=True)
class Told:
    """A delivery with what may be done about it here."""

    row: DeliveryRow
    may_change: bool

    @property
    def shape(self) -> str:
        return DELIVERED.get(self.row.state, "warn")

    @property
    def words(self) -> str:
        if self.row.state == "waiting" and self.row.attempts:
            return f"tried {self.row.attempts}×"
        return "given up" if self.row.state == "given_up" else self.row.state


@page("alerts")
def alerts_page(visit: Visit) -> HttpResponse:
    """Open ones first, the selected one with its deliveries, channels with a test each."""
    whose, caller = whose_alerts(visit.seen), access.caller_of_person(visit.request.user)
    given = {name: visit.request.GET.get(name, "")[:40].replace("\x00", "") for name in FILTERS}
    given = {name: value for name, value in given.items() if value}
    selected = _selected(visit, whose)
    before = visit.request.GET.get("before", "")
    found = [] if before else alerts(visit.cursor, whose, False, given)
    older = alerts(visit.cursor, whose, True, given, int(before) if _is_number(before) else None)
    known = channels(visit.cursor, whose)

    def line(row: AlertRow) -> Line:
        return Line(row, caller.may_change(row.tenant_id))

    sent = guarded(
        visit,
        "deliveries",
        lambda: [
            Told(row, caller.may_change(row.tenant_id))
            for row in deliveries(visit.cursor, whose, selected.id if selected else None)
        ],
    )
    return show(
        visit,
        "dashboards/alerts.html",
        heading="Alerts",
        no_window=True,
        open=folded([line(row) for row in found]) if "rule" not in given else [line(row) for row in found],
        resolved=[line(row) for row in older],
        selected=line(selected) if selected else None,
        told=sent,
        channels=[(row, caller.may_change(row.tenant_id)) for row in known],
        given=given,
        test=visit.request.session.pop(TEST_KEY, None),
        may_add=any(caller.may_change(tenant_id) for tenant_id in visit.seen.tenant_ids) or visit.seen.is_operator,
    )


def folded(lines: list[Line]) -> list[Line]:
    """Of a rule with very many (one for each user, say) the worst, and how many more there are."""
    counts: Counter[tuple[int | None, int | None]] = Counter((line.row.tenant_id, line.row.rule_id) for line in lines)
    kept: list[Line] = []
    seen: Counter[tuple[int | None, int | None]] = Counter()
    for line in lines:
        rule = line.row.tenant_id, line.row.rule_id
        if line.row.rule_id is not None and counts[rule] > MOST_OF_RULE:
            seen[rule] += 1
            if seen[rule] > SHOWN_OF_RULE:
                continue
            if seen[rule] == SHOWN_OF_RULE:
                line = replace(line, more=counts[rule] - SHOWN_OF_RULE)
        kept.append(line)
    return kept


def _selected(visit: Visit, whose: Whose) -> AlertRow | None:
    asked = visit.request.GET.get("alert", "")
    return one_alert(visit.cursor, whose, int(asked)) if _is_number(asked) else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19
