"""The file's part `alert_channels`: where alerts are told."""

from llmobs.alerts.models import Channel
from llmobs.ops.configuring.applying import Applying, at, named, refuse, row
from llmobs.ops.configuring.entry import Entry, Part
from llmobs.providers.credentials import variable
from llmobs.tenants.models import Tenant


class OwnChannelEntry(Entry, frozen=True):
    name: str
    url: str
    kinds: list[str] = []
    severities: list[str] = []
    is_enabled: bool = True


class ChannelEntry(OwnChannelEntry, frozen=True):
    tenant: str = ""
    tenants: list[str] = []


def apply(applying: Applying, entry: ChannelEntry, path: str) -> None:
    with at(path):
        tenant = named(Tenant, "tenant", slug=entry.tenant) if entry.tenant else None
    _apply(applying, tenant, entry, list(entry.tenants), path)


def apply_own(applying: Applying, tenant: Tenant, entry: OwnChannelEntry, path: str) -> None:
    _apply(applying, tenant, entry, [], path)


def _apply(applying: Applying, tenant: Tenant | None, entry: OwnChannelEntry, tenants: list[str], path: str) -> None:
    with at(path):
        channel = row(Channel, tenant=tenant, name=entry.name)
        channel.url, channel.is_enabled = _address(applying, entry.url), entry.is_enabled
        channel.kinds, channel.severities = list(entry.kinds), list(entry.severities)
        channel.tenants = tenants
        is_new = channel._state.adding
        applying.save(channel)
        if is_new and (secret := channel.open_secret()):
            applying.report.secrets[f"signing secret of {channel}"] = secret


def _address(applying: Applying, given: str) -> str:
    """The address itself, or the variable that holds it."""
    name = variable(given)
    if name and not applying.environ.get(name, "").strip():
        refuse("url", f"the variable {name} is not set")
    return applying.environ[name].strip() if name else given


_EXPLAINED = (
    "where alerts are told: name, url (https://..., mailto:..., or a service such as slack://...; or env:VARIABLE), "
    "kinds, severities, is_enabled; a webhook's signing secret is printed once"
)

CHANNELS = Part(
    "alert_channels",
    ChannelEntry,
    apply,
    named=lambda entry: f"{entry.tenant}/{entry.name}",
    explained=f"{_EXPLAINED}; tenant; tenants: of an operators' channel, whose alerts it hears too",
)
TENANT_CHANNELS = Part("alert_channels", OwnChannelEntry, apply_own, explained=_EXPLAINED)
