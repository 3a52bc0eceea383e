"""`GET /v1/models`: what a key may put into "model", in a shape that both SDKs read."""

import msgspec

from gateway.errors import Refusal
from gateway.plane import Plane
from gateway.stages.authenticate import holder, secret_of
from gateway.stages.route import is_allowed

_SINCE = "1970-01-01T00:00:00Z"  # neither format may leave it out, and nobody knows


def models(headers: dict[bytes, bytes], plane: Plane, now_ns: int) -> bytes:
    """Routes, and models with a price of their own, that the key may use. Raises Refusal."""
    snapshot = plane.snapshot
    if snapshot is None:
        raise Refusal("not_ready", "the gateway has no configuration yet; try again in a moment")
    tenant, key = holder(snapshot, secret_of(headers), plane.platform_secret, now_ns)
    owners = dict.fromkeys(snapshot.registry.routes, "llmobs")
    for override in snapshot.stored.overrides:
        if override.tenant_id in (None, tenant.id) and override.provider in snapshot.registry.providers:
            owners.setdefault(override.model, override.provider)
    data = [_entry(name, owner) for name, owner in sorted(owners.items()) if is_allowed(name, key.allowed_models)]
    ids = [str(entry["id"]) for entry in data]
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    return msgspec.json.encode({"object": "list", "data": data, "has_more": False, "first_id": first, "last_id": last})


def _entry(name: str, owner: str) -> dict[str, str | int]:
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": owner,
        "type": "model",
        "display_name": name,
        "created_at": _SINCE,
    }
