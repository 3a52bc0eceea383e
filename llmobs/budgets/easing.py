"""A person lets calls go on where a budget has stopped them: its limit is raised, or released, with a word on why.

For this window alone it is a row that says from when to when it holds, so that nothing has to take it back (a rolling
window's lasts as many days as the window has, since that is how long what was spent counts). Lasting, it is a new
limit. Either way the audit trail says who, from what, to what and why; gateways have it within a second.
"""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import transaction

from llmobs.budgets.models import Budget, Raise
from llmobs.budgets.window import other_days, rolling_days, window_bounds
from llmobs.core.clock import NS_PER_SECOND, ns_from_utc, utc_from_ns
from llmobs.core.money import MOST_NANOUSD, exact_usd
from llmobs.tenants import audit

MOST_PERCENT = 10_000
LONGEST_REASON = 500


@dataclass(frozen=True)
class By:
    """By how much: an amount in the budget's unit (nano-USD or tokens), or percent of its limit."""

    amount: int | None = None
    percent: int | None = None

    def of(self, limit: int) -> int:
        """The amount. Raises ValidationError."""
        if (self.amount is None) == (self.percent is None):
            raise ValidationError({"amount": "An amount or a percentage, one of the two."})
        if self.percent is not None and not 1 <= self.percent <= MOST_PERCENT:
            raise ValidationError({"percent": f"From 1 to {MOST_PERCENT:,} percent."})
        more = self.amount if self.amount is not None else -(-limit * (self.percent or 0) // 100)
        if not 0 < more <= MOST_NANOUSD - limit:
            raise ValidationError({"amount": "More than nothing, and no limit above 9,000,000 USD (or 9·10¹⁵ tokens)."})
        return more


def raise_limit(
    budget: Budget, by: By, actor: str, reason: str, now: datetime, value: str | None = None, is_lasting: bool = False
) -> int:
    """Allow more, in this window or for good; the amount by which. Raises ValidationError."""
    _check_reason(reason)
    with transaction.atomic():
        held = _locked(budget)
        was = held.limit
        more = by.of(was)
        if is_lasting:
            if value is not None:
                raise ValidationError({"value": "A lasting limit is the same for each value."})
            _set_limit(held, was + more)
            held.save()
            _record(held, actor, "raise", was, was + more, reason, "from now on")
        else:
            made = _keep(held, value, more, actor, reason, now)
            _record(held, actor, "raise", was, was + more, reason, _until(made, value))
        return more


def release(budget: Budget, actor: str, reason: str, now: datetime, value: str | None = None) -> Raise:
    """Refuse nothing for it until its window ends. Raises ValidationError."""
    _check_reason(reason)
    with transaction.atomic():
        held = _locked(budget)
        made = _keep(held, value, None, actor, reason, now)
        _record(held, actor, "release", held.limit, None, reason, _until(made, value))
        return made


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > LONGEST_REASON:
        raise ValidationError({"reason": f"Say why, in up to {LONGEST_REASON} characters: the audit trail keeps it."})


def _locked(budget: Budget) -> Budget:
    return Budget.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=budget.pk)


def _keep(budget: Budget, value: str | None, amount: int | None, actor: str, reason: str, now: datetime) -> Raise:
    if value is not None and "*" not in budget.scope.values():
        raise ValidationError({"value": "This budget is not one for each value."})
    starts_s, ends_s = lasts(budget.window, budget.tenant.time_zone, now)
    made = Raise(
        budget=budget,
        value=value,
        starts_at=utc_from_ns(starts_s * NS_PER_SECOND),
        ends_at=utc_from_ns(ends_s * NS_PER_SECOND),
        amount=amount,
        actor=actor[:200],
        reason=reason.strip(),
    )
    made.full_clean()
    made.save()
    return made


def lasts(window: str, zone_name: str, now: datetime) -> tuple[int, int]:
    """From when to when a raise of this moment holds: for windows in the ledger that begin within."""
    zone, now_s = ZoneInfo(zone_name), ns_from_utc(now) // NS_PER_SECOND
    starts_s, ends_s = window_bounds(window, zone, now_s)
    for _ in range(rolling_days(window) - 1):
        ends_s = other_days(2, zone, ends_s)[-1]
    return starts_s, ends_s


def _set_limit(budget: Budget, limit: int) -> None:
    if budget.limit_nanousd is not None:
        budget.limit_nanousd = limit
    else:
        budget.limit_tokens = limit


def _until(made: Raise, value: str | None) -> str:
    zone = ZoneInfo(made.budget.tenant.time_zone)
    until = "its end" if made.ends_at.year >= 9999 else made.ends_at.astimezone(zone).isoformat(timespec="minutes")
    return f"until {until}" + (f", for {value or 'unknown'}" if value is not None else "")


def _record(budget: Budget, actor: str, action: str, was: int, becomes: int | None, reason: str, until: str) -> None:
    def told(amount: int) -> str:
        return f"{exact_usd(amount)} USD" if budget.limit_nanousd is not None else f"{amount} tokens"

    change = {
        "limit": [told(was), "released" if becomes is None else told(becomes)],
        "holds": [None, until],
        "reason": [None, reason.strip()],
    }
    audit.record(actor, action, budget, change)
