"""Four gateways keep one limit: exactly as many get through as it says, whichever of them is asked."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx2 as httpx
import pytest

from gateway import snapshot
from llmobs.ops.simulator.running import Running
from tests.gateway.running import Gateway, running
from tests.gateway.test_refusals import CHAT, GOOD
from tests.gateway.world import World
from tests.stores import Stores


@pytest.fixture(scope="module")
def running_four(
    tmp_path_factory: pytest.TempPathFactory, migrated: Stores, valkey_url: str
) -> Iterator[list[Gateway]]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setattr(snapshot, "POLL_SECONDS", 0.02)
        folders = [tmp_path_factory.mktemp("gateway") for _ in range(4)]
        yield [stack.enter_context(running(folder, migrated.database_url, valkey_url)) for folder in folders]


@pytest.fixture
def four(running_four: list[Gateway], world: World, secret: str, providers: dict[str, int]) -> Iterator[list[Gateway]]:
    """They serve by all that the fixtures before put into the database."""
    yield running_four
    for gateway in running_four:
        gateway.wait_until(gateway.is_quiet, "every call has come to its end")
        # Emptying the tables must not meet a loading of the configuration.
        gateway.wait_for_config(world.version())


@pytest.mark.parametrize(
    ("per", "scope"),
    [("day", {"user": "*"}), ("day", {"feature": "chat"}), ("hour", {})],
    ids=["user", "feature", "tenant"],
)
def test_s0_04_four_gateways_and_200_callers_let_exactly_the_limit_through(
    four: list[Gateway], world: World, tenant: int, secret: str, simulator: Running, per: str, scope: dict[str, str]
) -> None:
    """S0-04: limits per user, feature and tenant are kept centrally: 37 of 200, whichever of four gateways is asked."""
    world.limit(tenant, 37, per=per, scope=scope)
    for gateway in four:
        gateway.wait_for_config(world.version())
    headers = {"x-api-key": secret, "x-llmobs-user": "ann", "x-llmobs-feature": "chat"}

    with httpx.Client(headers=headers, timeout=30) as client, ThreadPoolExecutor(50) as pool:

        def call(number: int) -> int:
            return client.post(f"{four[number % 4].url}{CHAT}", json=GOOD).status_code

        statuses = Counter(pool.map(call, range(200)))

    assert statuses == {200: 37, 429: 163}
    assert simulator.bill.as_dict()["requests"] == 37


def test_four_gateways_never_hand_out_more_tokens_than_a_minute_has(
    four: list[Gateway], world: World, tenant: int, secret: str, simulator: Running
) -> None:
    """Estimates are held at once, so that what is used stays below the limit however many call together."""
    world.limit(tenant, 1_000, unit="tokens")
    for gateway in four:
        gateway.wait_for_config(world.version())
    with httpx.Client(headers={"x-api-key": secret}, timeout=30) as client, ThreadPoolExecutor(50) as pool:
        body = {**GOOD, "max_tokens": 100}
        statuses = list(pool.map(lambda n: client.post(f"{four[n % 4].url}{CHAT}", json=body).status_code, range(100)))
    billed = simulator.bill.as_dict()
    assert statuses.count(200) == billed["requests"] >= 7
    assert billed["input_tokens"] + billed["output_tokens"] <= 1_000
