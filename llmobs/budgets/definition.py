"""What the budgets are, and which of them apply to a call: by value, window and ledger key.

`Budgets` is an immutable snapshot. The gateway holds a call against what `applying` answers, and the writer adds
bills by the same function, so that holds and spend meet on the same keys.

A budget applies from the window in which the writer has counted it (`counted_at`): until then nobody knows what was
spent, and what came before that window is not its matter.

A parent counts and holds what its own scope says and what the scope of any budget below it says. So what it counts
follows from the definitions alone, and can be added up from the bills at any time.
"""

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import psycopg
from msgspec.structs import replace

from llmobs.budgets.ledger import budget_key
from llmobs.budgets.scope import DIMENSIONS, EACH, INDEX, NO_SUCH_KEY, TENANT, Scope, canonical_value, fixed_part
from llmobs.budgets.scope import dimensions as dimensions_of
from llmobs.budgets.window import counted_since, is_window, other_days, rolling_days, window_bounds
from llmobs.core.clock import NS_PER_SECOND, ns_from_utc
from llmobs.tenants.attribution import Attribution
from llmobs.tenants.config_version import config_version

log = logging.getLogger(__name__)

Connection = psycopg.Connection[Any]

USD, TOKENS = "usd", "tokens"
BLOCK, ALERT = "block", "alert"
# Actions that block too, and answer in another way: from a cheaper candidate, the cache, a text of the budget's own.
DOWNGRADE, CACHE_ONLY, STATIC = "downgrade", "cache_only", "static"
ACTIONS = (BLOCK, DOWNGRADE, CACHE_ONLY, STATIC, ALERT)
# Values of one "each" budget remembered between calls; when full they are forgotten and made anew.
MOST_REMEMBERED = 4096


class Raise(msgspec.Struct, frozen=True, array_like=True):
    """More than the limit, for windows that begin in a span of time. `amount` None: released, nothing is refused."""

    starts_s: int
    ends_s: int
    value: str | None  # of an "each" budget; None: every value
    amount: int | None


class BudgetInfo(msgspec.Struct, frozen=True):
    """One active budget. `limit` is in nano-USD or tokens; `scope` is sorted, a key is named by its id.

    `below`: the fixed part of each scope that budgets below this one have; calls within any of them count here too.
    """

    id: int
    tenant_id: int
    name: str
    unit: str
    limit: int
    window: str
    scope: Scope
    action: str
    thresholds: tuple[int, ...]
    revision: int
    zone: str
    counted_from_s: int | None  # begin of the window in which it was counted; None: not counted yet
    parent_id: int | None = None
    below: tuple[Scope, ...] = ()
    downgrade_to: str = ""  # a route or model; "": the cheapest candidate of the call's own route
    static_text: str = ""
    raises: tuple[Raise, ...] = ()

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

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """What it counts: calls within any of these."""
        return (fixed_part(self.scope), *self.below)

    def limit_in(self, window_start_s: int, value: str = "") -> int | None:
        """The limit of one window and value, with what it was raised by; None: released."""
        limit = self.limit
        for each in self.raises:
            if each.starts_s <= window_start_s < each.ends_s and each.value in (None, value):
                if each.amount is None:
                    return None
                limit += each.amount
        return limit

    def at(self, at_s: int) -> "BudgetInfo":
        """As it is in the window that holds `at_s`: with what it was raised by, alert only where it was released."""
        for_all = [each for each in self.raises if each.value is None]
        if not for_all:
            return self
        starts_s = window_bounds(self.window, ZoneInfo(self.zone), at_s)[0]
        limit = replace(self, raises=tuple(for_all)).limit_in(starts_s)
        of_values = tuple(each for each in self.raises if each.value is not None)
        if limit is None:
            return replace(self, action=ALERT, raises=of_values)
        return replace(self, limit=limit, raises=of_values)

    def amount(self, cost_nanousd: int | None, tokens: int) -> int:
        """What a bill takes of it; an unpriced one takes no USD, but its tokens."""
        if self.unit == TOKENS:
            return tokens
        return cost_nanousd or 0


class Applied(msgspec.Struct, frozen=True):
    """A budget as it applies to one call. `key` is its key in the ledger, `words` what its scripts are told of it:
    "id:revision", "b" (may refuse) or "a" (alerts only), limit. Of a rolling window `key` is the day's and `days` are
    the other days' keys; the second word then says how many ("b7").
    """

    budget: BudgetInfo
    value: str
    window_start_s: int
    window_end_s: int
    key: str
    words: tuple[str, str, str]
    limit: int  # of this window, with what it was raised by
    days: tuple[str, ...] = ()


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
        self._alike: dict[tuple[int, ...], tuple[Applied, ...]] = {}  # by the identities of what they hold
        for info in self.infos:
            if info.counted_from_s is not None:
                self._slots.setdefault(info.tenant_id, []).append(_Slot(info, info.counted_from_s))

    def get(self, budget_id: int) -> BudgetInfo | None:
        return self._by_id.get(budget_id)

    def applying(
        self,
        tenant_id: int,
        attribution: Attribution,
        model: str,
        provider_name: str,
        at_ns: int,
        prompt_version: str = "",
    ) -> tuple[Applied, ...]:
        """Counted budgets that a call begun at `at_ns` is held against. An unknown value ("") is a value too."""
        slots = self._slots.get(tenant_id)
        if slots is None:
            return NONE_APPLY
        at_s = at_ns // NS_PER_SECOND
        asked = (tenant_id, attribution, model, provider_name, prompt_version)
        answer = self._answers.get(asked)
        if answer is not None and answer[0] <= at_s < answer[1]:
            return answer[2]
        dimensions = dimensions_of(attribution, model, provider_name, prompt_version)
        found = tuple([slot.applied(dimensions, at_s) for slot in slots if slot.applies(dimensions, at_s)])
        if len(self._answers) >= MOST_REMEMBERED:
            self._answers.clear()
        if len(self._alike) >= MOST_REMEMBERED:
            self._alike.clear()
        # One tuple for all calls that the same budgets apply to: the writer adds their bills up by it.
        found = self._alike.setdefault(tuple(map(id, found)), found)
        # One that is counted only from a later window on must be found then: an answer holds for a minute at most.
        until_s = min([at_s // 60 * 60 + 60, *(applied.window_end_s for applied in found)])
        self._answers[asked] = (at_s, until_s, found)
        return found


class _Slot:
    """One budget made ready for matching; remembers the current window and its values."""

    __slots__ = ("budget", "counted_from_s", "each", "ends_s", "remembered", "scopes", "starts_s", "zone")

    def __init__(self, budget: BudgetInfo, counted_from_s: int) -> None:
        self.budget = budget
        self.counted_from_s = counted_from_s
        self.zone = ZoneInfo(budget.zone)
        scopes = [tuple((INDEX[name], value) for name, value in scope) for scope in budget.scopes]
        self.scopes = [()] if () in scopes else scopes  # one that fixes nothing says it all
        self.each = tuple(INDEX[name] for name in budget.each)
        self.starts_s = self.ends_s = 0
        self.remembered: dict[str | tuple[str, ...], Applied] = {}

    def applies(self, dimensions: tuple[str, ...], at_s: int) -> bool:
        if at_s < self.counted_from_s:
            return False
        return any(all(dimensions[index] == value for index, value in scope) for scope in self.scopes)

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
    limit = budget.limit_in(window_start_s, value)
    kind = "b" if budget.is_blocking and limit is not None else "a"
    limit = budget.limit if limit is None else limit
    days = _other_keys(budget, value, window_start_s)
    words = (f"{budget.id}:{budget.revision}", f"{kind}{len(days) or ''}", str(limit))
    return Applied(budget, value, window_start_s, window_end_s, key, words, limit, days)


def _other_keys(budget: BudgetInfo, value: str, day_starts_s: int) -> tuple[str, ...]:
    days = rolling_days(budget.window)
    if not days:
        return ()
    starts = other_days(days, ZoneInfo(budget.zone), day_starts_s)
    return tuple([budget_key(budget.tenant_id, budget.id, budget.revision, at_s, value) for at_s in starts])


def apply_at(budget: BudgetInfo, value: str, at_s: int) -> Applied:
    """The budget for one value, in the window that holds `at_s`."""
    return apply(budget, value, *window_bounds(budget.window, ZoneInfo(budget.zone), at_s))


BUDGETS = """
SELECT b.id, b.tenant_id, b.name, b.limit_nanousd, b.limit_tokens, b."window", b.scope, b.action, b.thresholds,
       b.revision, b.counted_at, t.time_zone, t.slug, b.parent_id, b.downgrade_to, b.static_text
FROM budgets_budget b JOIN tenants_tenant t ON t.id = b.tenant_id
WHERE b.is_active ORDER BY b.tenant_id, b.id
"""
# Those that are over are of no matter: a window of this length ago is swept (`budgets.sweep`).
RAISES = "SELECT budget_id, starts_at, ends_at, value, amount FROM budgets_raise ORDER BY id"
KEYS = "SELECT k.id, t.slug, k.name, k.tenant_id FROM tenants_key k JOIN tenants_tenant t ON t.id = k.tenant_id"


def load(conn: Connection) -> Budgets:
    """All active budgets. The version is read first: what changes meanwhile makes the snapshot stale, not wrong."""
    version = config_version(conn)
    keys: dict[tuple[int, str], str] = {}
    named: dict[str, str] = {}
    for key_id, slug, name, tenant_id in conn.execute(KEYS):
        keys[tenant_id, name] = named[f"{slug}/{name}"] = str(key_id)
    raises: dict[int, list[Raise]] = {}
    for budget_id, starts_at, ends_at, value, amount in conn.execute(RAISES):
        raises.setdefault(budget_id, []).append(Raise(_seconds(starts_at), _seconds(ends_at), value, amount))
    infos = (_info(row, keys, named, raises) for row in conn.execute(BUDGETS))
    return Budgets(with_below([info for info in infos if info is not None]), version)


def _seconds(at: datetime) -> int:
    return ns_from_utc(at) // NS_PER_SECOND


def with_below(infos: list[BudgetInfo]) -> list[BudgetInfo]:
    """Each with the scopes of all budgets below it. One that is not active, or not of the tenant, is nobody's child."""
    children: dict[tuple[int, int], list[BudgetInfo]] = {}
    for info in infos:
        if info.parent_id is not None:
            children.setdefault((info.tenant_id, info.parent_id), []).append(info)
    return [replace(info, below=_below(info, children)) if children else info for info in infos]


def _below(top: BudgetInfo, children: dict[tuple[int, int], list[BudgetInfo]]) -> tuple[Scope, ...]:
    found: dict[int, Scope] = {}
    waiting = [top]
    while waiting:
        for child in children.get((top.tenant_id, waiting.pop().id), ()):
            if child.id not in found and child.id != top.id:  # plain SQL may have written a cycle
                found[child.id] = fixed_part(child.scope)
                waiting.append(child)
    return tuple(dict.fromkeys(found.values()))


def _info(
    row: tuple[Any, ...],
    keys: dict[tuple[int, str], str],
    named: dict[str, str],
    raises: dict[int, list[Raise]],
) -> BudgetInfo | None:
    budget_id, tenant_id, name, nanousd, tokens, window, scope, action, thresholds, revision, counted_at, *rest = row
    zone, slug, parent_id, downgrade_to, static_text = rest
    unknown = sorted(set(scope) - set(DIMENSIONS))
    if unknown or scope.get(TENANT, slug) not in (slug, EACH) or not is_window(window):
        # Fails open and says so: a scope nobody can match must not stop every call of the tenant.
        log.error("budget %s of tenant %s is not enforced: scope %s, window %s", budget_id, tenant_id, scope, window)
        return None
    resolved = {dimension: str(value) for dimension, value in scope.items() if dimension != TENANT}
    key = resolved.get("key", EACH)
    if key != EACH:
        resolved["key"] = keys.get((tenant_id, key)) or named.get(key) or NO_SUCH_KEY
    counted_from_s = None
    if counted_at is not None:
        counted_from_s = counted_since(window, ZoneInfo(zone), _seconds(counted_at))
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
        parent_id=parent_id,
        downgrade_to=downgrade_to,
        static_text=static_text,
        raises=tuple(raises.get(budget_id, ())),
    )
