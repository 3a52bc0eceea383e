"""The rules that hold: those that people made, and of the kinds that are on by default one for all others.

A rule without a tenant is evaluated for each tenant by itself. A default one leaves out tenants that have a rule of its
kind of their own, also a disabled one: that is how it is turned off. So does a shared rule, for everybody.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from llmobs.alerts.kinds import RULES, Kind
from llmobs.alerts.raising import Connection

QUIET, REMIND = timedelta(minutes=5), timedelta(hours=24)

RULE_ROWS = """
SELECT r.id, r.tenant_id, r.name, r.kind, r.filters, r.group_by, r.threshold, r.window_minutes, r.minimum_count,
    r.severity, r.quiet_minutes, r.remind_hours, r.is_enabled
FROM alerts_alertrule r ORDER BY r.id
"""
TENANTS = "SELECT id, slug, name, time_zone FROM tenants_tenant WHERE is_active ORDER BY id"


@dataclass(frozen=True, slots=True)
class TenantRow:
    """Whom an alert is about, as its words and links name it."""

    id: int
    slug: str
    name: str
    zone: str


@dataclass(frozen=True)
class Rule:
    """A rule with everything said. `id` None: a default one."""

    id: int | None
    tenant_ids: tuple[int, ...]
    name: str
    kind: Kind
    threshold: Decimal
    window: timedelta
    minimum: int
    severity: str
    filters: Mapping[str, str] = field(default_factory=dict)
    group_by: str = ""
    quiet: timedelta = QUIET
    remind: timedelta = REMIND

    @property
    def key(self) -> str:
        """What the keys of its alerts begin with."""
        return f"rule {self.id}" if self.id is not None else "default"


@dataclass(frozen=True)
class Rules:
    """All that is evaluated, and the tenants by id."""

    rules: tuple[Rule, ...]
    tenants: Mapping[int, TenantRow]

    def of(self, kind: Kind) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.kind is kind)


def load(conn: Connection) -> Rules:
    """The rules as they are now."""
    tenants = {row[0]: TenantRow(*row) for row in conn.execute(TENANTS).fetchall()}
    rows = [row for row in conn.execute(RULE_ROWS).fetchall() if row[3] in RULES]
    made = [_rule(row, tuple(tenants)) for row in rows if row[-1]]
    defaults = [_default(kind, rows, tuple(tenants)) for kind in RULES.values() if kind.is_default]
    return Rules(tuple(rule for rule in [*made, *defaults] if rule.tenant_ids or rule.kind.name in SHARED), tenants)


SHARED = frozenset({"provider_unhealthy"})  # about what belongs to no tenant


def _rule(row: tuple[Any, ...], everybody: tuple[int, ...]) -> Rule:
    rule_id, tenant_id, name, kind_name, filters, group_by, threshold, window, minimum, severity, quiet, remind, _ = row
    kind = RULES[kind_name]
    return Rule(
        id=rule_id,
        tenant_ids=everybody if tenant_id is None else tuple(each for each in everybody if each == tenant_id),
        name=name,
        kind=kind,
        threshold=kind.threshold if threshold is None else threshold,
        window=timedelta(minutes=kind.window if window is None else window),
        minimum=kind.minimum if minimum is None else minimum,
        severity=severity,
        filters=filters,
        group_by=group_by,
        quiet=timedelta(minutes=quiet),
        remind=timedelta(hours=remind),
    )


def _default(kind: Kind, rows: list[tuple[Any, ...]], everybody: tuple[int, ...]) -> Rule:
    own = {row[1] for row in rows if row[3] == kind.name}
    left = () if None in own else tuple(each for each in everybody if each not in own)
    window = timedelta(minutes=kind.window)
    return Rule(None, left, kind.words, kind, kind.threshold, window, kind.minimum, kind.severity)
