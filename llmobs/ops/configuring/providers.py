"""The file's part `providers`: who answers."""

from typing import Literal

from llmobs.ops.configuring.applying import Applying, at, row
from llmobs.ops.configuring.entry import Entry, Part
from llmobs.providers.credentials import ENV, CredentialError, open_credential, store_form
from llmobs.providers.models import Provider


class ProviderEntry(Entry, frozen=True):
    name: str
    dialect: Literal["openai", "anthropic"]
    base_url: str
    credential: str = ""
    prices_like: str = ""
    headers: dict[str, str] = {}
    is_enabled: bool = True


def apply(applying: Applying, entry: ProviderEntry, path: str) -> None:
    with at(path):
        provider = row(Provider, name=entry.name)
        provider.dialect, provider.base_url = entry.dialect, entry.base_url
        provider.prices_like, provider.headers = entry.prices_like, dict(entry.headers)
        provider.is_enabled = entry.is_enabled
        if not _is_sealed_same(provider.credential, entry.credential, applying):
            provider.credential = store_form(entry.credential, applying.encryption_keys)
        variable = provider.credential.removeprefix(ENV)
        if variable != provider.credential and not applying.environ.get(variable, "").strip():
            applying.note(
                f"{path}.credential: {variable} is not set here; it must be where the gateway runs, from its start"
            )
        applying.save(provider)


def _is_sealed_same(stored: str, given: str, applying: Applying) -> bool:
    """Sealing gives another text each time: compare what is inside."""
    if not stored.startswith("sealed:"):
        return False
    try:
        return open_credential(stored, applying.encryption_keys) == given.strip()
    except CredentialError:
        return False


PROVIDERS = Part(
    "providers",
    ProviderEntry,
    apply,
    explained="who answers: name, dialect (openai or anthropic), base_url; credential: env:VARIABLE or file:/path, "
    "both read where the gateway runs, or the secret itself, kept sealed; headers, prices_like, is_enabled",
)
