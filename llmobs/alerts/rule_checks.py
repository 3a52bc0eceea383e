"""Whether a rule makes sense: its kind, what it filters and groups by, its threshold and window."""

from collections.abc import Mapping
from decimal import Decimal

from llmobs.alerts.kinds import OUTAGE, RULES, Kind

LONGEST_MINUTES = 31 * 1440
LONGEST_BILLED_MINUTES = 7 * 1440  # users and sessions are in no roll-up: bills are added up
BUDGET = "budget"  # what a rule on forecasts may filter by: a budget's name


class RuleError(Exception):
    """A field of a rule is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def check_rule(
    kind_name: str, filters: object, group_by: str, threshold: Decimal | None, window_minutes: int | None
) -> None:
    """Raise RuleError where a rule cannot be evaluated."""
    kind = RULES.get(kind_name)
    if kind is None:
        raise RuleError("kind", f"{kind_name!r} is no kind of rule; use one of {', '.join(RULES)}")
    known = filterable(kind)
    if not isinstance(filters, Mapping):
        raise RuleError("filters", 'An object, such as {"feature": "chat"}; {}: all calls.')
    for name, value in filters.items():
        if name not in known:
            raise RuleError("filters", f"{name!r} is nothing that {kind.name} is filtered by{_allowed(known)}")
        if not isinstance(value, str) or not value:
            raise RuleError("filters", f"{name}: a text")
        if name == "key" and not value.isdecimal():
            raise RuleError("filters", "key: the number of a key")
    if group_by and group_by not in kind.by:
        raise RuleError("group_by", f"{group_by!r} is nothing that {kind.name} is grouped by{_allowed(kind.by)}")
    if threshold is not None and (threshold < 0 or (threshold == 0 and kind is not OUTAGE)):
        raise RuleError("threshold", "More than 0.")
    longest = LONGEST_BILLED_MINUTES if {group_by, *filters} & {"user", "session"} else LONGEST_MINUTES
    if window_minutes is not None and not 1 <= window_minutes <= longest:
        raise RuleError("window_minutes", f"From 1 to {longest:,} minutes.")


def filterable(kind: Kind) -> frozenset[str]:
    """Names of a rule's filters."""
    if kind.name == "budget_forecast":
        return frozenset({BUDGET})
    if kind.name == "quality_drop":
        return frozenset({"score"})
    return kind.by


def _allowed(known: frozenset[str]) -> str:
    return f"; use {', '.join(sorted(known))}" if known else ""
