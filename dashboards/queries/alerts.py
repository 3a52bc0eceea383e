"""Alerts, their deliveries and the channels that hear them. Operators also see those of no tenant."""

# ruff: noqa: S608 - names in the SQL are constants of this module, values are always bound

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dashboards.queries.scope import Cursor

MOST_OPEN, MOST_RESOLVED, MOST_DELIVERIES = 200, 50, 50
FILTERS = {
    "kind": "a.kind",
    "severity": "a.severity",
    "state": "a.state",
    "budget": "a.body->>'budget_id'",
    "rule": "a.rule_id::text",
}
_COLUMNS = (
    "a.id, a.tenant_id, coalesce(t.name, ''), a.kind, a.severity, a.title, a.body, a.link, a.state, a.at, a.last_at, "
    "a.acknowledged_at, a.acknowledged_by, a.resolved_at, a.resolved_by, a.rule_id"
)
_FROM = "FROM alerts_alert a LEFT JOIN tenants_tenant t ON t.id = a.tenant_id"


@dataclass(frozen=True)
class Whose:
    """Whose alerts are asked for; `is_operator`: those of no tenant too. `sees_all`: who was told, whoever's it is."""

    tenant_ids: tuple[int, ...]
    is_operator: bool
    sees_all: bool = False

    @property
    def condition(self) -> str:
        return "(a.tenant_id = ANY(%s) OR (a.tenant_id IS NULL AND %s))"

    @property
    def values(self) -> list[Any]:
        return [list(self.tenant_ids), self.is_operator]


@dataclass(frozen=True)
class AlertRow:
    """An alert as the page lists it."""

    id: int
    tenant_id: int | None
    tenant: str
    kind: str
    severity: str
    title: str
    body: dict[str, Any]
    link: str
    state: str
    at: datetime
    last_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str
    resolved_at: datetime | None
    resolved_by: str
    rule_id: int | None


@dataclass(frozen=True)
class DeliveryRow:
    """A message on its way to a channel."""

    id: int
    alert_id: int
    title: str
    tenant_id: int | None
    channel: str
    target: str
    event: str
    state: str
    attempts: int
    next_at: datetime
    last_error: str
    created_at: datetime
    sent_at: datetime | None


@dataclass(frozen=True)
class ChannelRow:
    """Where alerts go."""

    id: int
    tenant_id: int | None
    tenant: str
    name: str
    target: str
    kinds: list[str]
    severities: list[str]
    is_enabled: bool


def open_count(cursor: Cursor, whose: Whose) -> tuple[int, int]:
    """(open alerts, critical ones among them): what nobody has acknowledged."""
    cursor.execute(
        "SELECT count(*), count(*) FILTER (WHERE a.severity = 'critical') FROM alerts_alert a "
        f"WHERE {whose.condition} AND a.state = 'open'",
        whose.values,
    )
    total, critical = cursor.fetchone()
    return total, critical


def alerts(
    cursor: Cursor, whose: Whose, is_over: bool, given: dict[str, str], before: int | None = None
) -> list[AlertRow]:
    """Those that are not resolved (open first, the worst first), or the resolved ones, newest first."""
    where, values = _given(given)
    if before is not None:
        where, values = f"{where} AND a.id < %s", [*values, before]
    order = (
        "a.id DESC"
        if is_over
        else "a.state DESC, array_position(ARRAY['critical', 'warning', 'info'], a.severity::text), a.at DESC"
    )
    cursor.execute(
        f"SELECT {_COLUMNS} {_FROM} WHERE {whose.condition} AND (a.state = 'resolved') = %s{where} "
        f"ORDER BY {order} LIMIT %s",
        [*whose.values, is_over, *values, MOST_RESOLVED if is_over else MOST_OPEN],
    )
    return [_alert(row) for row in cursor.fetchall()]


def one_alert(cursor: Cursor, whose: Whose, alert_id: int) -> AlertRow | None:
    cursor.execute(f"SELECT {_COLUMNS} {_FROM} WHERE {whose.condition} AND a.id = %s", [*whose.values, alert_id])
    row = cursor.fetchone()
    return _alert(row) if row else None


def deliveries(cursor: Cursor, whose: Whose, alert_id: int | None = None) -> list[DeliveryRow]:
    """Of one alert, or the newest of all."""
    cursor.execute(
        "SELECT d.id, a.id, a.title, a.tenant_id, c.name, c.target, d.event, d.state, d.attempts, d.next_at, "
        "d.last_error, d.created_at, d.sent_at FROM alerts_delivery d JOIN alerts_alert a ON a.id = d.alert_id "
        f"JOIN alerts_channel c ON c.id = d.channel_id WHERE {whose.condition} AND (c.tenant_id = a.tenant_id OR %s) "
        f"{'AND a.id = %s' if alert_id is not None else ''} ORDER BY d.id DESC LIMIT %s",
        [*whose.values, whose.sees_all, *([alert_id] if alert_id is not None else []), MOST_DELIVERIES],
    )
    return [DeliveryRow(*row) for row in cursor.fetchall()]


def channels(cursor: Cursor, whose: Whose) -> list[ChannelRow]:
    cursor.execute(
        "SELECT a.id, a.tenant_id, coalesce(t.name, 'operators'), a.name, a.target, a.kinds, a.severities, "
        "a.is_enabled FROM alerts_channel a LEFT JOIN tenants_tenant t ON t.id = a.tenant_id "
        f"WHERE {whose.condition} ORDER BY 3, 4",
        whose.values,
    )
    rows = cursor.fetchall()
    return [ChannelRow(*(_decoded(v) if i in (5, 6) else v for i, v in enumerate(row))) for row in rows]


def _given(given: dict[str, str]) -> tuple[str, list[Any]]:
    names = [name for name in FILTERS if given.get(name)]
    return "".join(f" AND {FILTERS[name]} = %s" for name in names), [given[name] for name in names]


def _alert(row: Sequence[Any]) -> AlertRow:
    return AlertRow(*(_decoded(value) if index == 6 else value for index, value in enumerate(row)))


def _decoded(value: Any) -> Any:
    """Django leaves jsonb as text."""
    return json.loads(value) if isinstance(value, str) else value
