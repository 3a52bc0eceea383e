"""The file's part `tenants`: who pays, with what each of them has (`tenant_parts`)."""

from typing import TYPE_CHECKING, Literal

import msgspec

from llmobs.ops.configuring.applying import Applying, at, row
from llmobs.ops.configuring.entry import Entry, Part
from llmobs.ops.configuring.tenant_parts import TENANT_PARTS
from llmobs.tenants.models import Tenant


class TenantFields(Entry, frozen=True):
    slug: str
    name: str = ""
    plan: Literal["none", "free", "paid"] = "none"
    content: Literal["full", "redacted", "hash", "none"] = "redacted"
    time_zone: str = "UTC"
    retention_days: int = 400
    raw_body_days: int = 0
    confidential_only_local: bool = False
    is_active: bool = True


if TYPE_CHECKING:
    TenantEntry = TenantFields
else:
    TenantEntry = msgspec.defstruct(
        "TenantEntry", [part.field for part in TENANT_PARTS], bases=(TenantFields,), frozen=True, kw_only=True
    )


_AS_WRITTEN = (
    "plan", "content", "time_zone", "retention_days", "raw_body_days", "confidential_only_local", "is_active",
)  # fmt: skip


def apply(applying: Applying, entry: TenantEntry, path: str) -> None:
    with at(path):
        tenant = row(Tenant, slug=entry.slug)
        for name in _AS_WRITTEN:
            setattr(tenant, name, getattr(entry, name))
        tenant.name = entry.name or tenant.name or entry.slug
        applying.save(tenant)
    for part in TENANT_PARTS:
        for place, each in part.entries(entry, path):
            part.apply(applying, tenant, each, place)


TENANTS = Part(
    "tenants",
    TenantEntry,
    apply,
    named=lambda entry: str(entry.slug),
    explained="who pays: slug, name, plan, content (full, redacted, hash, none), time_zone, retention_days, "
    "raw_body_days (that reported bodies are kept as they came), "
    "confidential_only_local (content with personal data or secrets goes to local providers alone), is_active, "
    + ", ".join(part.name for part in TENANT_PARTS),
)
