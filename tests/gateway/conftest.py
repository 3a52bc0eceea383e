"""The gateway's world: a simulator as both providers, a tenant with a key, and a running gateway."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psycopg
import pytest
import redis

from llmobs.ops.simulator import running as simulator_running
from llmobs.ops.simulator.running import Running
from tests.gateway.running import Gateway, running
from tests.gateway.world import World


@pytest.fixture
def simulator() -> Iterator[Running]:
    with simulator_running.running() as simulator:
        yield simulator


@pytest.fixture
def world(pg: psycopg.Connection[Any], valkey: "redis.Redis[bytes]") -> World:
    return World(pg, valkey)


@pytest.fixture
def tenant(world: World) -> int:
    return world.tenant()


@pytest.fixture
def secret(world: World, tenant: int) -> str:
    return world.key(tenant)[1]


@pytest.fixture
def providers(world: World, simulator: Running) -> dict[str, int]:
    return {
        "openai": world.provider("openai", "openai", f"{simulator.url}/v1"),
        "anthropic": world.provider("anthropic", "anthropic", simulator.url),
    }


@pytest.fixture
def gateway(
    tmp_path: Path, world: World, secret: str, providers: dict[str, int], database_url: str, valkey_url: str
) -> Iterator[Gateway]:
    """Serves by all that the fixtures before it put into the database."""
    with running(tmp_path, database_url, valkey_url) as gateway:
        gateway.wait_for_config(world.version())
        yield gateway


@pytest.fixture
def budget(world: World, tenant: int) -> int:
    """A month's budget over all calls of the tenant, with an open ledger."""
    budget_id = world.budget(tenant)
    world.open_ledger()
    return budget_id


@pytest.fixture
def http(gateway: Gateway, secret: str) -> Iterator[httpx.Client]:
    """A plain client with the key."""
    headers = {"authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=15) as client:
        yield client
