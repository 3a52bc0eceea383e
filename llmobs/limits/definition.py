"""What the limits are, and which of them apply to a call: by value, with the key under which it is counted.

`Limits` is an immutable snapshot. A tenant's plan brings limits too (`plans`), unless it has its own of the same
unit, period and scope. A limit without a tenant holds for all of them together, or, where its scope names each of
something that is a tenant's own (its users, its keys), for each of these.
"""

import json
import logging
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import msgspec
import psycopg

from llmobs.limits.plans import PLANS
from llmobs.limits.units import DIMENSIONS, EACH, INPUT_TOKENS, PERIODS, REQUEST, STEPS, TENANTS_OWN
from llmobs.tenants.attribution import Attribution

log = logging.getLogger(__name__)

_INDEX = {dimension: index for index, dimension in enumerate(DIMENSIONS)}
_TENANT = _INDEX["tenant"]

NOBODY = "-1"  # a scope that names a key or a tenant which is not there applies to no call

LONGEST_VALUE = 200  # characters of a value within a key; longer ones are kept by their hash
MOST_REMEMBERED = 4096  # values of one limit remembered between calls; when full they are forgotten and made anew

EVERYONE = "*"  # hash tag of what all tenants share


class LimitInfo(msgspec.Struct, frozen=True):
    """One active limit. `id` 0: of the tenant's plan. `scope` is sorted; keys and tenants are named by their ids."""

    id: int
    tenant_id: int | None
    name: str
    unit: str
    per: str
    limit: int
    scope: tuple[tuple[str, str], ...]

    @property
    def each(self) -> tuple[str, ...]:
        """Dimensions of which each value has a limit of its own."""
        return tuple(dimension for dimension, value in self.scope if value == EACH)


class AppliedLimit(msgspec.Struct, frozen=True):
    """A limit as it applies to one call. `head`: seconds of a bucket, buckets of the window, limit (as script words).

    Of calls at once `head` begins with two zeros: they have no window.
    """

    limit: LimitInfo
    value: str
    key: str
    head: tuple[str, str, str]


class RequestCaps(msgspec.Struct, frozen=True):
    """The most tokens of one request; None: as many as it likes."""

    input_tokens: int | None = None
    output_tokens: int | None = None


NONE_APPLY: tuple[AppliedLimit, ...] = ()
NO_CAPS = RequestCaps()


class Limits:
    """All active limits; answers which of them apply. Not safe for several threads (it remembers values)."""

    def __init__(self, infos: Iterable[LimitInfo] = ()) -> None:
        self.infos = tuple(infos)
        by_tenant: dict[int | None, list[LimitInfo]] = {None: []}
        for info in self.infos:
            by_tenant.setdefault(info.tenant_id, []).append(info)
        self._all = _Slots(by_tenant.pop(None))
        self._answers: dict[tuple[int, Attribution, str, str, str], tuple[AppliedLimit, ...]] = {}
        self._of: dict[int | None, _Slots] = {tenant_id: _Slots(own, self._all) for tenant_id, own in by_tenant.items()}

    def applying(
        self, tenant_id: int, attribution: Attribution, model: str, provider_name: str, client_ip: str
    ) -> tuple[AppliedLimit, ...]:
        """Limits that a call counts against. An unknown value ("") is a value too, or leaving it out would evade."""
        counted = self._of.get(tenant_id, self._all).counted
        if not counted:
            return NONE_APPLY
        asked = (tenant_id, attribution, model, provider_name, client_ip)
        found = self._answers.get(asked)
        if found is None:
            dimensions = _dimensions(*asked)
            found = tuple([slot.applied(dimensions) for slot in counted if slot.applies(dimensions)])
            if len(self._answers) >= MOST_REMEMBERED:
                self._answers.clear()
            self._answers[asked] = found
        return found

    def caps(
        self, tenant_id: int, attribution: Attribution, model: str, provider_name: str, client_ip: str
    ) -> RequestCaps:
        """The tightest caps of one request."""
        slots = self._of.get(tenant_id, self._all).caps
        if not slots:
            return NO_CAPS
        dimensions = _dimensions(tenant_id, attribution, model, provider_name, client_ip)
        inputs: list[int] = []
        outputs: list[int] = []
        for slot in slots:
            if slot.applies(dimensions):
                (inputs if slot.limit.unit == INPUT_TOKENS else outputs).append(slot.limit.limit)
        return RequestCaps(min(inputs, default=None), min(outputs, default=None))


class _Slots:
    """The limits of one tenant, made ready: those that are counted, and the caps of each request."""

    __slots__ = ("caps", "counted")

    def __init__(self, infos: Iterable[LimitInfo], shared: "_Slots | None" = None) -> None:
        slots = [_Slot(info) for info in infos]
        self.counted = [slot for slot in slots if slot.limit.per != REQUEST]
        self.caps = [slot for slot in slots if slot.limit.per == REQUEST]
        if shared is not None:
            self.counted = shared.counted + self.counted
            self.caps = shared.caps + self.caps


class _Slot:
    """One limit made ready for matching; remembers its values."""

    __slots__ = ("each", "fixed", "head", "limit", "prefix", "remembered")

    def __init__(self, limit: LimitInfo) -> None:
        self.limit = limit
        self.fixed = tuple((_INDEX[name], value) for name, value in limit.scope if value != EACH)
        each = limit.each
        # Tenants never share what is counted by a name of their own: the tenant is part of such a value.
        if limit.tenant_id is None and any(name in TENANTS_OWN for name in each):
            each = ("tenant", *(name for name in each if name != "tenant"))
        self.each = tuple(_INDEX[name] for name in each)
        step_s, buckets = STEPS.get(limit.per, (0, 0))
        self.head = (str(step_s), str(buckets), str(limit.limit))
        whose = f"{limit.unit}:{limit.per}:{','.join(name for name, _ in limit.scope)}"
        kind = f"{limit.id}:{whose}" if limit.id else f"plan:{whose}"
        self.prefix = kind if limit.tenant_id is None else f"limit:{{{limit.tenant_id}}}:{kind}:"
        self.remembered: dict[str | tuple[str, ...], AppliedLimit] = {}

    def applies(self, dimensions: tuple[str, ...]) -> bool:
        return all(dimensions[index] == value for index, value in self.fixed)

    def applied(self, dimensions: tuple[str, ...]) -> AppliedLimit:
        each = self.each
        values = dimensions[each[0]] if len(each) == 1 else tuple([dimensions[index] for index in each])
        found = self.remembered.get(values)
        return found if found is not None else self._remember(values)

    def _remember(self, values: str | tuple[str, ...]) -> AppliedLimit:
        if len(self.remembered) >= MOST_REMEMBERED:
            self.remembered.clear()
        prefix = self.prefix
        if self.limit.tenant_id is None:
            is_tenants = bool(self.each) and self.each[0] == _TENANT
            tag = (values if isinstance(values, str) else values[0]) if is_tenants else EVERYONE
            prefix = f"limit:{{{tag}}}:{prefix}:"
        value = _bounded(values)
        applied = self.remembered[values] = AppliedLimit(self.limit, value, prefix + value, self.head)
        return applied


def _bounded(values: str | tuple[str, ...]) -> str:
    """One text for what a limit is counted by: the value itself, or a JSON list of several."""
    if isinstance(values, str):
        text = values
    else:
        text = json.dumps(values, ensure_ascii=False, separators=(",", ":")) if values else ""
    data = text.encode("utf-8", "replace")
    if len(text) <= LONGEST_VALUE:
        return data.decode()
    return f"{text[:64]}…{sha256(data).hexdigest()}".encode("utf-8", "replace").decode()


def _dimensions(
    tenant_id: int, attribution: Attribution, model: str, provider_name: str, client_ip: str
) -> tuple[str, ...]:
    """A call's values in the order of DIMENSIONS."""
    return (
        str(tenant_id),
        str(attribution.key_id),
        attribution.feature,
        attribution.environment,
        attribution.service,
        attribution.user_id,
        attribution.session_id,
        client_ip,
        model,
        provider_name,
    )


LIMITS = """
SELECT id, tenant_id, name, unit, per, "limit", scope FROM limits_limit WHERE is_active
ORDER BY tenant_id NULLS FIRST, id
"""
KEYS = "SELECT k.id, t.slug, k.name, k.tenant_id FROM tenants_key k JOIN tenants_tenant t ON t.id = k.tenant_id"
TENANTS = "SELECT id, slug, plan FROM tenants_tenant WHERE is_active ORDER BY id"


def load(conn: psycopg.Connection[Any]) -> Limits:
    """All active limits, those of plans included."""
    names = _Names()
    for key_id, slug, name, tenant_id in conn.execute(KEYS):
        names.keys[tenant_id, name] = names.keys[None, f"{slug}/{name}"] = str(key_id)
    plans = {}
    for tenant_id, slug, plan in conn.execute(TENANTS):
        names.tenants[slug] = str(tenant_id)
        plans[tenant_id] = plan
    infos = [info for row in conn.execute(LIMITS) if (info := _info(row, names)) is not None]
    return Limits(infos + _of_plans(plans, infos))


class _Names:
    """What a scope may name: keys by tenant and name (or `slug/name`), tenants by slug; each by its id."""

    def __init__(self) -> None:
        self.keys: dict[tuple[int | None, str], str] = {}
        self.tenants: dict[str, str] = {}

    def resolve(self, tenant_id: int | None, dimension: str, value: str) -> str:
        if value == EACH:
            return value
        if dimension == "key":
            return self.keys.get((tenant_id, value)) or self.keys.get((None, value)) or NOBODY
        if dimension == "tenant":
            return self.tenants.get(value, NOBODY)
        return value


def _info(row: tuple[Any, ...], names: _Names) -> LimitInfo | None:
    limit_id, tenant_id, name, unit, per, limit, scope = row
    unknown = sorted(set(scope) - set(DIMENSIONS))
    if unknown or per not in PERIODS.get(unit, ()):
        # Fails open and says so: what nobody can match must not stop every call of the tenant.
        log.error("limit %s of tenant %s is not enforced: %s per %s, scope %s", limit_id, tenant_id, unit, per, unknown)
        return None
    resolved = {dimension: names.resolve(tenant_id, dimension, str(value)) for dimension, value in scope.items()}
    return LimitInfo(limit_id, tenant_id, name, unit, per, limit, tuple(sorted(resolved.items())))


def _of_plans(plans: dict[int, str], own: list[LimitInfo]) -> list[LimitInfo]:
    """What the tenants' plans bring, but for what they set themselves."""
    set_by = {(info.tenant_id, info.unit, info.per, info.scope) for info in own}
    return [
        LimitInfo(0, tenant_id, f"plan {plan}", each.unit, each.per, each.limit, each.scope)
        for tenant_id, plan in plans.items()
        for each in PLANS.get(plan, ())
        if (tenant_id, each.unit, each.per, each.scope) not in set_by
    ]
