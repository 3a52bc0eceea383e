"""The client's world: the gateway's, whose collector it sends to."""

from tests.gateway.conftest import (
    gateway,
    http,
    providers,
    secret,
    shared_gateway,
    simulator,
    tenant,
    world,
)

__all__ = ["gateway", "http", "providers", "secret", "shared_gateway", "simulator", "tenant", "world"]
