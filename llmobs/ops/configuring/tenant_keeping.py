"""A tenant's part `keeping`: how long what is kept besides spans, and what is archived before it goes."""

from typing import Literal

from llmobs.ops.configuring.applying import Applying, at
from llmobs.ops.configuring.entry import Entry, Part
from llmobs.tenants import keeping
from llmobs.tenants.models import Tenant


class KeepingEntry(Entry, frozen=True):
    content_days: int | None = None
    rollup_days: int | None = None
    bill_days: int | None = None
    archive: Literal["off", "spans", "full"] | bool = "off"  # YAML reads a bare off as false


def apply(applying: Applying, tenant: Tenant, entry: KeepingEntry, path: str) -> None:
    with at(path):
        tenant.content_retention_days = entry.content_days
        tenant.rollup_retention_days = entry.rollup_days
        tenant.bill_retention_days = entry.bill_days
        tenant.archive = entry.archive if isinstance(entry.archive, str) else keeping.OFF
        applying.save(tenant)


KEEPING = Part(
    "keeping",
    KeepingEntry,
    apply,
    named=lambda _: "keeping",
    explained="content_days, rollup_days (left out: as long as spans, which retention_days says), bill_days (left out: "
    "for ever), archive (off, spans, full: written to Parquet before it is let go)",
    is_single=True,
)
