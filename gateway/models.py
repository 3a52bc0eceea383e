"""`GET /v1/models`: what a key may put into "model", in a shape that both SDKs read."""

from collections.abc import Iterator

import msgspec

from gateway.errors import Refusal
from gateway.plane import Plane
from gateway.snapshot import Snapshot
from gateway.stages.authenticate import holder, secret_of
from gateway.stages.route import is_allowed

_SINCE = "1970-01-01T00:00:00Z"  # neither format may leave it out, and nobody knows

# More than any provider offers (OpenRouter's some hundreds), so that a list stays one that a person can page through.
MOST_LISTED = 2_000


def models(headers: dict[bytes, bytes], plane: Plane, now_ns: int) -> bytes:
    """What the key may call: routes, models with a price of their own, and those that the price book knows of the
    enabled providers. Raises Refusal.
    """
    snapshot = plane.snapshot
    if snapshot is None:
        raise Refusal("not_ready", "the gateway has no configuration yet; try again in a moment")
    tenant, key = holder(snapshot, secret_of(headers), plane.platform_secret, now_ns)
    owners: dict[str, str] = {}
    for name, owner in _callable(snapshot, tenant.id):
        if len(owners) < MOST_LISTED and is_allowed(name, key.allowed_models):
            owners.setdefault(name, owner)
    data = [_entry(name, owner) for name, owner in sorted(owners.items())]
    ids = [str(entry["id"]) for entry in data]
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    return msgspec.json.encode({"object": "list", "data": data, "has_more": False, "first_id": first, "last_id": last})


def _callable(snapshot: Snapshot, tenant_id: int) -> Iterator[tuple[str, str]]:
    """Names and who answers for them, in the order in which a call would look for it."""
    providers = snapshot.registry.providers.values()
    for name, route in snapshot.registry.routes.items():
        if route.candidates:
            yield name, "llmobs"
    for override in snapshot.stored.overrides:
        for provider in providers:
            if override.provider == provider.priced_as and override.tenant_id in (None, tenant_id):
                yield override.model, provider.name
    for provider in providers:
        for model in snapshot.book.bundled_models(provider.priced_as):
            yield model, provider.name


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
