"""The file's part `alert_channels`: where alerts are told."""

from llmobs.alerts.models import Channel
from llmobs.ops.configuring.applying import Applying, at, named, row
from llmobs.ops.configuring.entry import Entry, Part
from llmobs.tenants.models import Tenant


class ChannelEntry(Entry, frozen=True):
    name: str
    url: str
    tenant: str = ""
    is_enabled: bool = True


def apply(applying: Applying, entry: ChannelEntry, path: str) -> None:
    with at(path):
        tenant = named(Tenant, "tenant", slug=entry.tenant) if entry.tenant else None
        channel = row(Channel, tenant=tenant, name=entry.name)
        channel.url, channel.is_enabled = entry.url, entry.is_enabled
        applying.save(channel)


CHANNELS = Part(
    "alert_channels",
    ChannelEntry,
    apply,
    named=lambda entry: f"{entry.tenant}/{entry.name}",
    explained="where passed thresholds are told: name, tenant, url (https://... or mailto:...), is_enabled",
)
