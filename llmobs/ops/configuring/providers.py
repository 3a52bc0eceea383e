"""The file's part `providers`: who answers."""

from datetime import date
from typing import Any, Literal

from llmobs.ops.configuring.applying import Applying, at, refuse, row
from llmobs.ops.configuring.entry import Entry, Part
from llmobs.ops.configuring.values import is_on, number
from llmobs.providers.credentials import CredentialError, open_credential, store_form, variable
from llmobs.providers.models import Provider
from llmobs.providers.registry import RETRIES


class CredentialEntry(Entry, frozen=True):
    credential: str
    weight: int = 1


class ProviderEntry(Entry, frozen=True):
    name: str
    dialect: Literal["openai", "anthropic"]
    base_url: str
    credential: str = ""
    credentials: list[CredentialEntry] = []
    auth: Literal["", "bearer", "x-api-key", "api-key", "none"] = ""
    headers: dict[str, str] = {}
    api_version: Any = ""  # YAML reads 2024-10-21 as a date
    query: dict[str, str] = {}
    paths: dict[str, str] = {}
    serves: list[Literal["chat", "responses", "embeddings", "messages", "count_tokens"]] = []
    prices_like: str = ""
    breaker: bool | Literal["on", "off"] = True  # YAML reads a bare off as false
    retries: int = RETRIES
    is_local: bool = False
    connect_seconds: int | str | None = None
    first_byte_seconds: int | str | None = None
    whole_seconds: int | str | None = None
    ca_file: str = ""
    verify: bool = True
    default_service_tier: Literal["", "auto", "batch", "flex", "priority", "fast"] = ""
    is_enabled: bool = True


AS_GIVEN = (
    "dialect", "base_url", "auth", "prices_like", "retries", "is_local", "ca_file", "verify",
    "is_enabled", "default_service_tier",
)  # fmt: skip
MAPPINGS = ("headers", "query", "paths")
SECONDS = ("connect_seconds", "first_byte_seconds", "whole_seconds")


def apply(applying: Applying, entry: ProviderEntry, path: str) -> None:
    with at(path):
        if entry.credential and entry.credentials:
            refuse("credentials", "either one credential or several")
        provider = row(Provider, name=entry.name)
        for name in AS_GIVEN:
            setattr(provider, name, getattr(entry, name))
        for name in MAPPINGS:
            setattr(provider, name, dict(getattr(entry, name)))
        for name in SECONDS:
            given = getattr(entry, name)
            setattr(provider, name, None if given is None else number(name, given))
        if not isinstance(entry.api_version, str | date):
            refuse("api_version", "a text such as 2024-10-21")
        provider.api_version = str(entry.api_version)
        provider.serves, provider.breaker = list(entry.serves), is_on(entry.breaker)
        provider.credential = _stored(provider.credential, entry.credential, f"{path}.credential", applying)
        provider.credentials = _several(provider.credentials, entry.credentials, path, applying)
        applying.save(provider)


def _several(
    stored: list[dict[str, Any]], given: list[CredentialEntry], path: str, applying: Applying
) -> list[dict[str, Any]]:
    """By their places: the sealed text of an unchanged one stays."""
    before = [str(each["credential"]) for each in stored] + [""] * len(given)
    return [
        {
            "credential": _stored(old, new.credential, f"{path}.credentials[{index}].credential", applying),
            "weight": new.weight,
        }
        for index, (old, new) in enumerate(zip(before, given, strict=False))
    ]


def _stored(stored: str, given: str, path: str, applying: Applying) -> str:
    """What to keep of a given credential; a variable that is not set here is pointed out."""
    name = variable(given)
    if name and not applying.environ.get(name, "").strip():
        applying.note(f"{path}: {name} is not set here; it must be where the gateway runs, from its start")
    if _is_sealed_same(stored, given, applying):
        return stored
    return store_form(given, applying.encryption_keys)


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
    "both read where the gateway runs (a file again when it changes), or the secret itself, kept sealed; credentials: "
    "several, each with a weight; auth (bearer, x-api-key, api-key, none), headers, api_version, query, paths by "
    "operation, serves (operations: chat, responses, embeddings, messages, count_tokens), prices_like, breaker, "
    "retries, is_local, connect_seconds, first_byte_seconds, whole_seconds, ca_file, verify, is_enabled, "
    "default_service_tier (of requests that name none: auto, priority, flex …)",
)
