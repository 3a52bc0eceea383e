"""What the budgets are, and which of them apply to a call: by value, window and ledger key.

`Budgets` is an immutable snapshot. The gateway holds a call against what `applying` answers, and the writer adds
bills by the same function, so that holds and spend meet on the same keys.

A budget applies from the window in which the writer has counted it (`counted_at`): until then nobody knows what was
spent, and what came before that window is not its matter.
"""

import json
import logging
from collections.abc import Iterable
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import psycopg

from llmobs.budgets.ledger import budget_key
from llmobs.budgets.window import window_bounds, window_start
from llmobs.core.clock import NS_PER_SECOND, ns_from_utc
from llmobs.tenants.attribution import Attribution
from llmobs.tenants.config_version import config_version

log = logging.getLogger(__name__)

Connection = psycopg.Connection[Any]

USD, TOKENS = "usd", "tokens"
BLOCK, ALERT = "block", "alert"
EACH = "*"

# Scope dimension -> column of `bill`, in the order in which `_dimensions` answers.
COLUMNS = {
    "feature": "feature",
    "environment": "environment",
    "service": "service",
    "user": "user_id",
    "session": "session_id",
    "key": "key_id",
    "model": "model",
    "provider": "provider_name",
}
_INDEX = {dimension: index for index, dimension in enumerate(COLUMNS)}

NO_SUCH_KEY = "-1"  # a scope that names a key which is not there applies to no call

# A value is part of a primary key in PostgreSQL (at most 2,700 bytes in an index): longer ones are kept by their hash.
LONGEST_VALUE = 400

# Values of one "each" budget remembered between calls; when full they are forgotten and made anew.
MOST_REMEMBERED = 4096


class BudgetInfo(msgspec.Struct, frozen=True):
    """One active budget. `limit` is in nano-USD or tokens; `scope` is sorted, a key is named by its id."""

    id: int
    tenant_id: int
    name: str
    unit: str
    limit: int
    window: str
    scope: tuple[tuple[str, str], ...]
    action: str
    thresholds: tuple[int, ...]
    revision: int
    zone: str
    counted_from_s: int | None  # begin of the window in which it was counted; None: not counted yet

    @property
    def is_counted(self) -> bool:
        return self.counted_from_s is not None

    @property
    def is_blocking(self) -> bool:
        return self.action != ALERT

    @property
    def each(self) -> tuple[str, ...]:
        """Dimensions of which each value has a budget of its own."""
        return tuple(dimension for dimension, value in self.scope if value == EACH)

    def amount(self, cost_nanousd: int | None, tokens: int) -> int:
        """What a bill takes of it; an unpriced one takes no USD, but its tokens."""
        if self.unit == TOKENS:
            return tokens
        return cost_nanousd or 0


class Applied(msgspec.Struct, frozen=True):
    """A budget as it applies to one call. `key` is its key in the ledger, `words` what its scripts are told of it:
    "id:revision", "b" (may refuse) or "a" (alerts only), limit.
    """

    budget: BudgetInfo
    value: str
    window_start_s: int
    window_end_s: int
    key: str
    words: tuple[str, str, str]


NONE_APPLY: tuple[Applied, ...] = ()


class Budgets:
    """All active budgets; answers which of them apply. Not safe for several threads (it remembers values)."""

    def __init__(self, infos: Iterable[BudgetInfo] = (), version: int = 0) -> None:
        self.infos = tuple(infos)
        self.version = version  # of the configuration it was read at
        self._by_id = {info.id: info for info in self.infos}
        self._slots: dict[int, list[_Slot]] = {}
        # By tenant and dimensions: what applied, and until which second it does.
        self._answers: dict[tuple[object, ...], tuple[int, int, tuple[Applied, ...]]] = {}
        for info in self.infos:
            if info.counted_from_s is not None:
                self._slots.setdefault(info.tenant_id, []).append(_Slot(info, info.counted_from_s))

    def get(self, budget_id: int) -> BudgetInfo | None:
        return self._by_id.get(budget_id)

    def applying(
        self, tenant_id: int, attribution: Attribution, model: str, provider_name: str, at_ns: int
    ) -> tuple[Applied, ...]:
        """Counted budgets that a call begun at `at_ns` is held against. An unknown value ("") is a value too."""
        slots = self._slots.get(tenant_id)
        if slots is None:
            return NONE_APPLY
        at_s = at_ns // NS_PER_SECOND
        asked = (tenant_id, attribution, model, provider_name)
        answer = self._answers.get(asked)
        if answer is not None and answer[0] <= at_s < answer[1]:
            return answer[2]
        dimensions = _dimensions(attribution, model, provider_name)
        found = tuple([slot.applied(dimensions, at_s) for slot in slots if slot.applies(dimensions, at_s)])
        if len(self._answers) >= MOST_REMEMBERED:
            self._answers.clear()
        # One that is counted only from a later window on must be found then: an answer holds for a minute at most.
        until_s = min([at_s // 60 * 60 + 60, *(applied.window_end_s for applied in found)])
        self._answers[asked] = (at_s, until_s, found)
        return found


class _Slot:
    """One budget made ready for matching; remembers the current window and its values."""

    __slots__ = ("budget", "counted_from_s", "each", "ends_s", "fixed", "remembered", "starts_s", "zone")

    def __init__(self, budget: BudgetInfo, counted_from_s: int) -> None:
        self.budget = budget
        self.counted_from_s = counted_from_s
        self.zone = ZoneInfo(budget.zone)
        self.fixed = tuple((_INDEX[name], value) for name, value in budget.scope if value != EACH)
        self.each = tuple(_INDEX[name] for name in budget.each)
        self.starts_s = self.ends_s = 0
        self.remembered: dict[str | tuple[str, ...], Applied] = {}

    def applies(self, dimensions: tuple[str, ...], at_s: int) -> bool:
        if at_s < self.counted_from_s:
            return False
        return all(dimensions[index] == value for index, value in self.fixed)

    def applied(self, dimensions: tuple[str, ...], at_s: int) -> Applied:
        if not self.starts_s <= at_s < self.ends_s:
            self.starts_s, self.ends_s = window_bounds(self.budget.window, self.zone, at_s)
            self.remembered.clear()
        each = self.each
        values = dimensions[each[0]] if len(each) == 1 else tuple([dimensions[index] for index in each])
        found = self.remembered.get(values)
        return found if found is not None else self._remember(values)

    def _remember(self, values: str | tuple[str, ...]) -> Applied:
        if len(self.remembered) >= MOST_REMEMBERED:
            self.remembered.clear()
        applied = apply(self.budget, canonical_value(values), self.starts_s, self.ends_s)
        self.remembered[values] = applied
        return applied


def apply(budget: BudgetInfo, value: str, window_start_s: int, window_end_s: int) -> Applied:
    """The budget for one value and window, with its ledger key."""
    key = budget_key(budget.tenant_id, budget.id, budget.revision, window_start_s, value)
    words = (f"{budget.id}:{budget.revision}", "b" if budget.is_blocking else "a", str(budget.limit))
    return Applied(budget, value, window_start_s, window_end_s, key, words)


def apply_at(budget: BudgetInfo, value: str, at_s: int) -> Applied:
    """The budget for one value, in the window that holds `at_s`."""
    return apply(budget, value, *window_bounds(budget.window, ZoneInfo(budget.zone), at_s))


def canonical_value(values: str | tuple[str, ...]) -> str:
    """One text for what an "each" budget is kept by: the value itself, or a JSON list of several; bounded."""
    if isinstance(values, str):
        text = values
    else:
        text = json.dumps(values, ensure_ascii=False, separators=(",", ":")) if values else ""
    if len(text) <= LONGEST_VALUE:
        return text
    return f"{text[:64]}…{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _dimensions(attribution: Attribution, model: str, provider_name: str) -> tuple[str, ...]:
    return (
        attribution.feature,
        attribution.environment,
        attribution.service,
        attribution.user_id,
        attribution.session_id,
        key_value(attribution.key_id),
        model,
        provider_name,
    )


def key_value(key_id: int) -> str:
    """A key as a scope names it: its id, "" for none."""
    return str(key_id) if key_id else ""


BUDGETS = """
SELECT b.id, b.tenant_id, b.name, b.limit_nanousd, b.limit_tokens, b."window", b.scope, b.action, b.thresholds,
       b.revision, b.counted_at, t.time_zone
FROM budgets_budget b JOIN tenants_tenant t ON t.id = b.tenant_id
WHERE b.is_active ORDER BY b.tenant_id, b.id
"""
KEYS = "SELECT k.id, t.slug, k.name, k.tenant_id FROM tenants_key k JOIN tenants_tenant t ON t.id = k.tenant_id"


def load(conn: Connection) -> Budgets:
    """All active budgets. The version is read first: what changes meanwhile makes the snapshot stale, not wrong."""
    version = config_version(conn)
    keys: dict[tuple[int, str], str] = {}
    named: dict[str, str] = {}
    for key_id, slug, name, tenant_id in conn.execute(KEYS):
        keys[tenant_id, name] = named[f"{slug}/{name}"] = str(key_id)
    infos = (_info(row, keys, named) for row in conn.execute(BUDGETS))
    return Budgets((info for info in infos if info is not None), version)


def _info(row: tuple[Any, ...], keys: dict[tuple[int, str], str], named: dict[str, str]) -> BudgetInfo | None:
    budget_id, tenant_id, name, nanousd, tokens, window, scope, action, thresholds, revision, counted_at, zone = row
    unknown = sorted(set(scope) - set(COLUMNS))
    if unknown:
        # Fails open and says so: a scope nobody can match must not stop every call of the tenant.
        log.error("budget %s of tenant %s is not enforced: unknown scope %s", budget_id, tenant_id, unknown)
        return None
    resolved = {dimension: str(value) for dimension, value in scope.items()}
    key = resolved.get("key", EACH)
    if key != EACH:
        resolved["key"] = keys.get((tenant_id, key)) or named.get(key) or NO_SUCH_KEY
    counted_from_s = None
    if counted_at is not None:
        counted_from_s = window_start(window, ZoneInfo(zone), ns_from_utc(counted_at) // NS_PER_SECOND)
    return BudgetInfo(
        id=budget_id,
        tenant_id=tenant_id,
        name=name,
        unit=USD if nanousd is not None else TOKENS,
        limit=nanousd if nanousd is not None else tokens,
        window=window,
        scope=tuple(sorted(resolved.items())),
        action=action,
        thresholds=tuple(sorted({int(threshold) for threshold in thresholds})),
        revision=revision,
        zone=zone,
        counted_from_s=counted_from_s,
    )
