"""Rules against their figures: a condition that holds opens an alert, one that has ended resolves it.

1. Each kind's figures are read at once (`measures`, `quality`, `anomaly`); forecasts open theirs by themselves.
2. A condition holds at or above its threshold, with the rule's minimum count: its alert opens, once.
3. It has ended below nine tenths of the threshold, or without figures, and only once it has not held for the rule's
   quiet time: what wavers around its threshold is one alert. A rule that is gone or turned off ends its alerts at once.
4. Open alerts are told of again after the rule's pause, unless somebody has acknowledged them.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from llmobs.alerts import measures
from llmobs.alerts.anomaly import spend_anomaly
from llmobs.alerts.forecasts import raise_forecasts
from llmobs.alerts.kinds import (
    ANOMALY,
    COST,
    ERRORS,
    FORECAST,
    LATENCY,
    OUTAGE,
    QUALITY,
    RULES,
    UNPRICED,
    ZERO_COST,
    Kind,
)
from llmobs.alerts.measures import Figure
from llmobs.alerts.quality import quality_drop
from llmobs.alerts.raising import Connection, raise_alert, remind, resolve_alert, short_key
from llmobs.alerts.rules import Rule, Rules, load
from llmobs.alerts.words import body_of, link_to, title_of

MOST_GROUPS = 100  # alerts of one rule and tenant at a time, the largest first: a page, not a flood
ENDS_AT = Decimal("0.9")  # of the threshold
FAST = timedelta(seconds=10)

OPEN = """
SELECT tenant_id, dedupe, id, last_at, told_at FROM alerts_alert
WHERE kind = %s AND state <> 'resolved' AND NOT is_once AND ended_id = 0
"""


@dataclass(frozen=True, slots=True)
class Opened:
    """An alert of a rule that is not resolved."""

    id: int
    last_at: datetime
    told_at: datetime


def evaluate(conn: Any, now: datetime, transaction: Callable[[], AbstractContextManager[Any]], is_slow: bool) -> int:
    """Bring the alerts of each kind to what the figures say, a transaction each; how many opened."""
    rules = load(conn)
    opened = 0
    for kind in RULES.values():
        if kind is not OUTAGE and (kind.every > FAST) == is_slow:
            with transaction():
                opened += _evaluate(conn, kind, rules, now)
    return opened


def _evaluate(conn: Any, kind: Kind, rules: Rules, now: datetime) -> int:
    mine = rules.of(kind)
    if kind is FORECAST:
        return raise_forecasts(conn, mine, now, rules.tenants)
    known = {(row[0], row[1]): Opened(*row[2:]) for row in conn.execute(OPEN, [kind.name]).fetchall()}
    if not mine and not known:
        return 0
    figures = {(f.tenant_id, short_key(_key(f.rule, f.group))): f for f in _figures(conn, kind, mine, rules, now)}
    opened = sum(_raise(conn, each, rules, now) for each in _loudest(f for f in figures.values() if _holds(f)))
    by_key = {rule.key: rule for rule in mine}
    for (tenant_id, key), alert in known.items():
        rule = by_key.get(key.partition("/")[0])
        figure = figures.get((tenant_id, key))
        if rule is None or tenant_id not in rule.tenant_ids:
            resolve_alert(conn, tenant_id, kind.name, key, now)
        elif figure is not None and _holds(figure):
            if rule.remind and alert.told_at <= now - rule.remind:
                remind(conn, alert.id, now, now - rule.remind)
        elif _has_ended(figure, rule) and alert.last_at <= now - rule.quiet:
            resolve_alert(conn, tenant_id, kind.name, key, now)
    return opened


def _figures(conn: Connection, kind: Kind, rules: tuple[Rule, ...], known: Rules, now: datetime) -> list[Figure]:
    if kind is ANOMALY:
        return spend_anomaly(conn, rules, now, dict(known.tenants))
    return READ[kind.name](conn, rules, now)


READ: dict[str, Callable[[Connection, tuple[Rule, ...], datetime], list[Figure]]] = {
    LATENCY.name: measures.latency,
    ERRORS.name: measures.errors,
    UNPRICED.name: measures.unpriced,
    ZERO_COST.name: measures.zero_cost,
    COST.name: measures.cost,
    QUALITY.name: quality_drop,
}


def _key(rule: Rule, group: str) -> str:
    return f"{rule.key}/{group}"


def _holds(figure: Figure) -> bool:
    return figure.value >= figure.rule.threshold and figure.count >= figure.rule.minimum


def _has_ended(figure: Figure | None, rule: Rule) -> bool:
    return figure is None or figure.count < rule.minimum or figure.value < ENDS_AT * rule.threshold


def _loudest(holding: Iterable[Figure]) -> list[Figure]:
    """At most MOST_GROUPS for each rule and tenant."""
    taken: dict[tuple[str, int], int] = {}
    chosen = []
    for figure in sorted(holding, key=lambda each: -each.value):
        whose = (figure.rule.key, figure.tenant_id)
        taken[whose] = taken.get(whose, 0) + 1
        if taken[whose] <= MOST_GROUPS:
            chosen.append(figure)
    return chosen


def _raise(conn: Connection, figure: Figure, rules: Rules, now: datetime) -> bool:
    rule, tenant = figure.rule, rules.tenants[figure.tenant_id]
    alert = raise_alert(
        conn,
        figure.tenant_id,
        rule.kind.name,
        _key(rule, figure.group),
        rule.severity,
        title_of(figure, tenant),
        body_of(figure, tenant, now),
        now,
        link=link_to(figure, tenant, now),
        is_once=False,
        rule_id=rule.id,
    )
    return alert is not None
