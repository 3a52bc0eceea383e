"""The part `limits` of the file, for all tenants, and of a tenant: rates and quotas."""

from typing import Literal

from llmobs.limits.models import Limit
from llmobs.limits.units import period
from llmobs.ops.configuring.applying import Applying, at, row
from llmobs.ops.configuring.entry import Entry, Part
from llmobs.ops.configuring.values import scope
from llmobs.tenants.models import Tenant


class LimitEntry(Entry, frozen=True):
    unit: Literal["requests", "tokens", "concurrent", "input_tokens", "output_tokens"]
    limit: int
    per: Literal["minute", "hour", "day", "request", ""] = ""
    scope: dict[str, str | int | bool] = {}
    name: str = ""
    is_active: bool = True


def apply_shared(applying: Applying, entry: LimitEntry, path: str) -> None:
    _apply(applying, None, entry, path)


def apply_own(applying: Applying, tenant: Tenant, entry: LimitEntry, path: str) -> None:
    _apply(applying, tenant, entry, path)


def _apply(applying: Applying, tenant: Tenant | None, entry: LimitEntry, path: str) -> None:
    """One with a name is known by it, so that all else of it may change; else there is one of a kind."""
    with at(path):
        kind = {"unit": entry.unit, "per": period(entry.unit, entry.per), "scope": scope(entry.scope)}
        limit = row(Limit, tenant=tenant, **({"name": entry.name} if entry.name else kind))
        limit.unit, limit.per, limit.scope = entry.unit, str(kind["per"]), scope(entry.scope)
        limit.limit, limit.is_active = entry.limit, entry.is_active
        applying.save(limit)


def _named(entry: LimitEntry) -> str:
    whom = "".join(f", {name} {value}" for name, value in sorted(entry.scope.items()))
    per = period(entry.unit, entry.per)
    return f"{entry.unit}{' per ' + per if per else ''}{whom}"


_EXPLAINED = (
    "unit (requests, tokens, concurrent, input_tokens, output_tokens), per (minute, hour, day; of a cap on each "
    "request: request), limit, name, is_active; scope: any of key, feature, environment, service, user, session, ip, "
    'model, provider, each a value or "*" for one limit for each value; {}: '
)

LIMITS = Part(
    "limits", LimitEntry, apply_shared, _named, f"{_EXPLAINED}all tenants together (tenant: each or one of them)"
)
TENANT_LIMITS = Part("limits", LimitEntry, apply_own, _named, f"{_EXPLAINED}the whole tenant")
