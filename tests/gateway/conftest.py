"""The gateway's world: a simulator as both providers, a tenant with a key, and a running gateway."""

from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import psycopg
import pytest
import redis

from gateway import snapshot
from llmobs.ops.simulator import running as simulator_running
from llmobs.ops.simulator.running import Running
from tests.gateway.running import Gateway, running
from tests.gateway.world import World
from tests.stores import Stores


@pytest.fixture
def simulator() -> Iterator[Running]:
    with simulator_running.running() as simulator:
        yield simulator


@pytest.fixture
def world(pg: psycopg.Connection[Any], valkey: redis.Redis) -> World:
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


@pytest.fixture(scope="module")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory, migrated: Stores, valkey_url: str) -> Iterator[Gateway]:
    """One for all tests of a module: starting and ending one takes longer than most of them.

    It looks for a new configuration fifty times a second, not twice: each test brings one.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "POLL_SECONDS", 0.02)
        with running(tmp_path_factory.mktemp("gateway"), migrated.database_url, valkey_url) as gateway:
            yield gateway


@pytest.fixture
def gateway(shared_gateway: Gateway, world: World, secret: str, providers: dict[str, int]) -> Iterator[Gateway]:
    """Serves by all that the fixtures before it put into the database; its journal begins anew."""
    shared_gateway.wait_for_config(world.version())
    shared_gateway.begin_test()
    yield shared_gateway
    shared_gateway.wait_until(shared_gateway.is_quiet, "every call has come to its end")
    # Emptying the tables must not meet a loading of the configuration.
    shared_gateway.wait_for_config(world.version())


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
