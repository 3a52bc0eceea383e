"""A session that runs away waits, or is refused until a person releases it. Before anything is held or looked at."""

from collections.abc import Awaitable

from gateway.call import Call
from gateway.plane import Plane
from llmobs.tenants.braking import OFF


def brake(call: Call, plane: Plane) -> Awaitable[None] | None:
    """Fill braking; gives what a slowed call waits for. Raises Refusal."""
    tenant, snapshot = call.tenant, plane.snapshot
    assert tenant is not None
    if tenant.brake == OFF:
        return None
    assert snapshot is not None
    return plane.brake.look(call, tenant, snapshot)
