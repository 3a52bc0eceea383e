"""The kinds of alerts, and of the rules that raise them: what a figure is made of, and what it is without being told.

Plain data: the models, the REST API, the pages' texts and docs/alerts.md are held to it.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

INFO, WARNING, CRITICAL = "info", "warning", "critical"
SEVERITIES = (INFO, WARNING, CRITICAL)

# Dimensions of the roll-ups, and those that bills alone know; as columns of both.
ROLLED_UP = {
    "feature": "feature",
    "environment": "environment",
    "service": "service",
    "key": "key_id",
    "model": "model",
    "provider": "provider_name",
}
DIMENSIONS = {**ROLLED_UP, "user": "user_id", "session": "session_id"}


@dataclass(frozen=True)
class Kind:
    """A kind of rule. `unit` is of its threshold; an empty `by` cannot be grouped; windows are in minutes."""

    name: str
    words: str
    unit: str
    threshold: Decimal
    window: int
    minimum: int
    by: frozenset[str]
    severity: str = WARNING
    is_default: bool = False  # on for every tenant that has no rule of the kind itself
    every: timedelta = timedelta(seconds=10)


_SUMMED = frozenset(ROLLED_UP)
_BILLED = frozenset(DIMENSIONS)

LATENCY = Kind("latency_p95", "95th percentile of the calls' duration", "ms", Decimal(10_000), 15, 20, _SUMMED)
ERRORS = Kind("error_rate", "share of the calls that failed", "%", Decimal(5), 15, 20, _SUMMED)
UNPRICED = Kind(
    "unpriced_usage", "calls that no price is known for", "calls", Decimal(1), 60, 1, _SUMMED, WARNING, True
)
ZERO_COST = Kind(
    "zero_cost", "calls that used tokens and cost nothing", "calls", Decimal(1), 5, 1, _BILLED, is_default=True,
    every=timedelta(minutes=1),
)  # fmt: skip
QUALITY = Kind(
    "quality_drop", "fall of the mean score against the seven days before", "%", Decimal(20), 1440, 20, frozenset(),
    every=timedelta(minutes=1),
)  # fmt: skip
COST = Kind("cost", "cost within the window", "USD", Decimal(10), 1440, 1, _BILLED)
ANOMALY = Kind(
    "spend_anomaly", "today's spend above the usual of the same hours", "deviations", Decimal(6), 1440, 20,
    frozenset(), every=timedelta(minutes=1),
)  # fmt: skip
FORECAST = Kind(
    "budget_forecast", "forecast of a budget at its window's end, of its limit", "%", Decimal(100), 0, 0, frozenset(),
    every=timedelta(minutes=1),
)  # fmt: skip
OUTAGE = Kind(
    "provider_unhealthy", "a breaker took a provider's model out", "", Decimal(0), 0, 0, frozenset(), CRITICAL, True
)

RULES = {kind.name: kind for kind in (LATENCY, ERRORS, UNPRICED, ZERO_COST, QUALITY, COST, ANOMALY, FORECAST, OUTAGE)}

# Kinds that no rule makes: budgets' own thresholds, the brake's, and of bills above what was held for them.
BUDGET_THRESHOLD, RUNAWAY, OVERRUN = "budget_threshold", "runaway", "bill_above_hold"
KINDS = (*RULES, BUDGET_THRESHOLD, RUNAWAY, OVERRUN)
