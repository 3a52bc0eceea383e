"""A tenant's part `keys`: credentials that we issue, with what their calls are by default."""

from datetime import datetime
from typing import Literal

from llmobs.ops.configuring.applying import Applying, at, refuse, row
from llmobs.ops.configuring.entry import Entry, Part
from llmobs.ops.configuring.values import aware, limit_nanousd
from llmobs.tenants.keys import new_secret, prefix_of, secret_hash
from llmobs.tenants.models import Key, Tenant

SHORTEST_SECRET = 16  # characters; the secrets that we make have 50


class KeyEntry(Entry, frozen=True):
    name: str
    secret: str = ""
    service: str = ""
    environment: str = ""
    feature: str = ""
    allowed_models: list[str] = []
    criticality: Literal["realtime", "background", "best_effort"] = "background"
    cache: bool | str = ""  # off or exact, else as the tenant says; YAML reads a bare off as false
    unpriced: Literal["refuse", "ceiling", "allow"] = "refuse"
    unpriced_usd: str | int | None = None
    most_output_tokens: int | None = None
    expires_at: datetime | None = None


def apply(applying: Applying, tenant: Tenant, entry: KeyEntry, path: str) -> None:
    with at(path):
        key = row(Key, tenant=tenant, name=entry.name)
        if key.revoked_at is not None:
            refuse("name", f"the key {key} was revoked at {key.revoked_at:%Y-%m-%d %H:%M} UTC; use another name")
        for name in ("service", "environment", "feature", "criticality", "unpriced"):
            setattr(key, name, getattr(entry, name))
        key.allowed_models = list(entry.allowed_models)
        usd = entry.unpriced_usd
        key.unpriced_nanousd = None if usd is None else limit_nanousd("unpriced_usd", usd)
        key.most_output_tokens = entry.most_output_tokens
        key.cache = "off" if entry.cache is False else str(entry.cache)
        key.expires_at = None if entry.expires_at is None else aware("expires_at", entry.expires_at)
        _give_secret(applying, key, entry.secret)
        applying.save(key)


def _give_secret(applying: Applying, key: Key, given: str) -> None:
    secret = _secret(applying, given)
    if not secret and key._state.adding:
        secret = applying.report.secrets[str(key)] = new_secret()
    if secret:
        key.prefix, key.secret_hash = prefix_of(secret), secret_hash(secret)
        if Key.objects.exclude(pk=key.pk).filter(secret_hash=key.secret_hash).exists():
            refuse("secret", "another key has the same secret")


def _secret(applying: Applying, given: str) -> str:
    if not given:
        return ""
    name = given.removeprefix("env:")
    secret = applying.environ.get(name, "").strip() if given.startswith("env:") else given
    if not secret:
        refuse("secret", f"the variable {name} is not set")
    if len(secret) < SHORTEST_SECRET:
        refuse("secret", f"shorter than {SHORTEST_SECRET} characters")
    return secret


KEYS = Part(
    "keys",
    KeyEntry,
    apply,
    explained="name, feature, environment, service (defaults of calls), allowed_models, criticality (realtime, "
    "background, best_effort), cache (off, exact; else as the tenant says), unpriced (refuse, ceiling with "
    "unpriced_usd, allow), most_output_tokens (of requests that set no ceiling), expires_at; "
    "secret: env:VARIABLE or the text itself, without it one is made and printed once",
)
