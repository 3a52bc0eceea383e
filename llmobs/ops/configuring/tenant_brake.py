"""A tenant's part `brake`: what becomes of sessions that run away, and from which marks on."""

from typing import Any

from llmobs.ops.configuring.applying import Applying, at, refuse
from llmobs.ops.configuring.entry import Entry, Part
from llmobs.tenants import braking
from llmobs.tenants.models import Tenant


class BrakeEntry(Entry, frozen=True):
    mode: bool | str = "off"  # YAML reads a bare off as false
    marks: dict[str, Any] = {}


def apply(applying: Applying, tenant: Tenant, entry: BrakeEntry, path: str) -> None:
    with at(path):
        tenant.brake = "off" if entry.mode is False else str(entry.mode)
        tenant.brake_marks = dict(entry.marks)
        if error := braking.marks_error(tenant.brake_marks):
            refuse("marks", error)
        applying.save(tenant)


BRAKE = Part(
    "brake",
    BrakeEntry,
    apply,
    named=lambda _: "brake",
    explained="mode (off, log, slow, pause), marks where they differ from the defaults ({alike_calls: 50, "
    'cost_usd: "0.50"})',
    is_single=True,
)
