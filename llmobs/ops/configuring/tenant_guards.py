"""A tenant's part `guards`: what becomes of injections, personal data and secrets in its calls."""

from llmobs.ops.configuring.applying import Applying, at
from llmobs.ops.configuring.entry import Entry, Part
from llmobs.ops.configuring.values import decimal
from llmobs.tenants.models import Tenant


class GuardsEntry(Entry, frozen=True):
    injection: bool | str = "log"  # YAML reads a bare off as false
    injection_threshold: str | int = "0.7"
    sensitive_input: bool | str = "log"
    sensitive_output: bool | str = "log"
    most_input_characters: int | None = None


def apply(applying: Applying, tenant: Tenant, entry: GuardsEntry, path: str) -> None:
    with at(path):
        for name in ("injection", "sensitive_input", "sensitive_output"):
            action = getattr(entry, name)
            setattr(tenant, name, "off" if action is False else str(action))
        tenant.injection_threshold = decimal("injection_threshold", entry.injection_threshold)
        tenant.most_input_characters = entry.most_input_characters
        applying.save(tenant)


GUARDS = Part(
    "guards",
    GuardsEntry,
    apply,
    named=lambda _: "guards",
    explained="injection (off, log, flag, block), injection_threshold (0.7), sensitive_input and sensitive_output "
    "(off, log, flag, mask, block), most_input_characters of a user's message",
    is_single=True,
)
