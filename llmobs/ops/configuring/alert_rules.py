"""The part `alert_rules` of the file, for all tenants, and of a tenant: what is watched besides budgets' thresholds."""

from typing import Literal

from llmobs.alerts.kinds import RULES
from llmobs.alerts.models import AlertRule, Channel
from llmobs.ops.configuring.applying import Applying, at, refuse, row
from llmobs.ops.configuring.entry import Entry, Part
from llmobs.ops.configuring.values import decimal, scope
from llmobs.tenants import audit
from llmobs.tenants.models import Tenant


class RuleEntry(Entry, frozen=True):
    name: str
    kind: str
    threshold: str | int | None = None
    window_minutes: int | None = None
    minimum_count: int | None = None
    filters: dict[str, str | int | bool] = {}
    group_by: str = ""
    severity: Literal["info", "warning", "critical"] = "warning"
    quiet_minutes: int = 5
    remind_hours: int = 24
    channels: list[str] = []
    is_enabled: bool = True


def apply_shared(applying: Applying, entry: RuleEntry, path: str) -> None:
    _apply(applying, None, entry, path)


def apply_own(applying: Applying, tenant: Tenant, entry: RuleEntry, path: str) -> None:
    _apply(applying, tenant, entry, path)


def _apply(applying: Applying, tenant: Tenant | None, entry: RuleEntry, path: str) -> None:
    with at(path):
        rule = row(AlertRule, tenant=tenant, name=entry.name)
        for name in (
            "kind",
            "window_minutes",
            "minimum_count",
            "group_by",
            "severity",
            "quiet_minutes",
            "remind_hours",
        ):
            setattr(rule, name, getattr(entry, name))
        rule.threshold = None if entry.threshold is None else decimal("threshold", entry.threshold)
        rule.filters, rule.is_enabled = scope(entry.filters), entry.is_enabled
        channels = [_channel(tenant, name) for name in entry.channels]
        applying.save(rule)
        if set(rule.channels.all()) != set(channels):
            rule.channels.set(channels)
            audit.record(applying.actor, "change", rule, {"channels": [None, sorted(entry.channels)]})
            applying.tell(audit.Outcome.CHANGED, rule)


def _channel(tenant: Tenant | None, name: str) -> Channel:
    found = Channel.objects.filter(tenant=tenant, name=name).first()
    if found is None:
        refuse("channels", f"there is no channel {name!r}; a tenant's rule names its own: its `alert_channels`")
    return found


_EXPLAINED = (
    f"what is watched: name, kind ({', '.join(RULES)}), threshold (in the kind's unit), window_minutes, minimum_count, "
    "filters and group_by (feature, environment, service, key, model, provider; of costs user and session too), "
    "severity (info, warning, critical), quiet_minutes, remind_hours, channels (names; none: all), is_enabled"
)

RULES_OF_ALL = Part("alert_rules", RuleEntry, apply_shared, explained=f"{_EXPLAINED}; for every tenant")
TENANT_RULES = Part("alert_rules", RuleEntry, apply_own, explained=_EXPLAINED)
