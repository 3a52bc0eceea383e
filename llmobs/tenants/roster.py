"""Who may call: every tenant and key as the gateway needs them, read in one go and immutable."""

from datetime import datetime
from typing import Any

import msgspec
import psycopg

from llmobs.core.clock import ns_from_utc

# What becomes of calls whose cost cannot be bounded for want of a price, under a budget that blocks.
REFUSE, CEILING, ALLOW = "refuse", "ceiling", "allow"


class TenantInfo(msgspec.Struct, frozen=True):
    """A tenant. `content`: full, redacted, hash or none."""

    id: int
    slug: str
    name: str
    plan: str
    content: str
    time_zone: str
    retention_days: int
    is_active: bool
    cache: str = "off"  # or exact: what counts unless a key or a call says otherwise
    cache_ttl_seconds: dict[str, int] = {}  # by feature (tenants.caching.ttl_for)
    cache_mb: int = 64
    # guards: off, log (both: nothing in the call's path), flag, mask, block
    injection: str = "log"
    injection_threshold_permille: int = 700
    sensitive_input: str = "log"
    sensitive_output: str = "log"
    most_input_characters: int | None = None
    is_guarded: bool = False  # any of them acts in the call's path
    confidential_only_local: bool = False  # whatever the route says
    brake: str = "off"  # log, slow, pause
    brake_marks: dict[str, Any] = {}  # where they differ from the defaults (tenants.braking)
    raw_body_days: int = 0  # that reported bodies are kept as they came


class KeyInfo(msgspec.Struct, frozen=True):
    """A key without its secret. `tenant_id` None: an operator's. `allowed_models`: names or globs, empty: any."""

    id: int
    tenant_id: int | None
    name: str
    secret_hash: str
    service: str
    environment: str
    feature: str
    allowed_models: tuple[str, ...]
    criticality: str
    cache: str
    unpriced: str
    expires_ns: int | None
    revoked_ns: int | None
    unpriced_nanousd: int | None = None  # what a call of a model without a price holds; None: nothing
    most_output_tokens: int | None = None  # of a request that sets no ceiling; None: the model's own


class Roster:
    """Tenants by id, keys by the SHA-256 (hex) of their secret and by id. Revoked keys stay, to say so."""

    def __init__(self, tenants: list[TenantInfo], keys: list[KeyInfo]) -> None:
        self.tenants = {tenant.id: tenant for tenant in tenants}
        self.keys = {key.secret_hash: key for key in keys}
        self.keys_by_id = {key.id: key for key in keys}


def load(conn: psycopg.Connection[Any]) -> Roster:
    """The roster as the database holds it now."""
    tenants = conn.execute(
        "SELECT id, slug, name, plan, content, time_zone, retention_days, is_active, "
        "cache, cache_ttl_seconds, cache_mb, injection, (injection_threshold * 1000)::int, sensitive_input, "
        "sensitive_output, most_input_characters, most_input_characters IS NOT NULL OR injection NOT IN ('off', 'log') "
        "OR sensitive_input NOT IN ('off', 'log') OR sensitive_output NOT IN ('off', 'log'), confidential_only_local, "
        "brake, brake_marks, raw_body_days FROM tenants_tenant"
    ).fetchall()
    keys = conn.execute(
        "SELECT id, tenant_id, name, secret_hash, service, environment, feature, allowed_models, criticality, cache, "
        "unpriced, expires_at, revoked_at, unpriced_nanousd, most_output_tokens FROM tenants_key"
    ).fetchall()
    return Roster([TenantInfo(*row) for row in tenants], [_key(row) for row in keys])


def _key(row: tuple[Any, ...]) -> KeyInfo:
    *_, expires_at, revoked_at, _, _ = row
    fields = dict(zip(KeyInfo.__struct_fields__, row, strict=True))
    fields["allowed_models"] = tuple(str(model) for model in fields["allowed_models"] or ())
    fields["expires_ns"], fields["revoked_ns"] = _ns(expires_at), _ns(revoked_at)
    return KeyInfo(**fields)


def _ns(at: datetime | None) -> int | None:
    return None if at is None else ns_from_utc(at)
