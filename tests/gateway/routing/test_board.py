"""Gateways that share a board in a real Valkey: they agree, and one of them probes."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis

from gateway import health
from gateway.health import Health
from gateway.routing import retrying
from gateway.routing.cell import PROBE
from gateway.valkey import Valkey
from llmobs.health import board
from tests.gateway.routing.made import candidate

ONE, TWO = candidate("openai/gpt-4o"), candidate("anthropic/claude opus, with spaces")


class Clock:
    """Seconds of one gateway, which a test moves; the board keeps its own."""

    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


def with_gateways(valkey_url: str, count: int, test: Callable[..., Awaitable[None]]) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            gateways = []
            for number in range(count):
                client = Valkey(valkey_url)
                await client.start()
                stack.push_async_callback(client.stop)
                gateways.append(Health(client, f"gateway-{number}", Clock()))
            await test(*gateways)

    asyncio.run(main())


def fail(gateway: Health, times: int) -> None:
    for _ in range(times):
        gateway.failed(ONE, retrying.FAILING)


def due(valkey: redis.Redis) -> None:
    """The board's open rows are due for their probe."""
    for name, row in board.read_states(flat(valkey)).items():
        valkey.hset(
            board.STATES_KEY, name, f"{row.version} {row.epoch} {row.phase} {row.step} {row.since_ms} {row.since_ms} 0 "
        )


def flat(valkey: redis.Redis) -> list[Any]:
    return [word for pair in valkey.hgetall(board.STATES_KEY).items() for word in pair]


def test_what_one_gateway_opens_is_open_for_all(valkey: redis.Redis, valkey_url: str) -> None:
    """S2-25, S3-12, S4-17: gateways share the breaker's state."""

    async def test(a: Health, b: Health) -> None:
        fail(a, 5)
        await a.tick()
        await b.tick()
        assert [h.state(ONE) for h in (a, b)] == ["unhealthy", "unhealthy"]
        assert (await b.allows(ONE, 5000.0)).is_skip
        assert not (await b.allows(TWO, 5000.0)).is_skip

    with_gateways(valkey_url, 2, test)


def test_failures_seen_by_several_gateways_count_together(valkey: redis.Redis, valkey_url: str) -> None:
    """S3-12: what no gateway saw alone trips for all."""

    async def test(a: Health, b: Health) -> None:
        fail(a, 3)
        fail(b, 3)
        await a.tick()
        await b.tick()
        await b.tick()
        await a.tick()
        assert [h.state(ONE) for h in (a, b)] == ["unhealthy", "unhealthy"]
        assert sum((a.changes + b.changes).values()) == 1

    with_gateways(valkey_url, 2, test)


def test_successes_of_one_end_the_failures_in_a_row_of_all(valkey: redis.Redis, valkey_url: str) -> None:
    async def test(a: Health, b: Health) -> None:
        fail(a, 4)
        await a.tick()
        b.ok(ONE, None, 1_000_000)
        await b.tick()
        await a.tick()
        fail(a, 4)
        await a.tick()
        assert a.state(ONE) == "degraded"

    with_gateways(valkey_url, 2, test)


def test_one_gateway_alone_probes(valkey: redis.Redis, valkey_url: str) -> None:
    """S2-24: half open lets exactly one call through, over all gateways and all their calls at once."""

    async def test(*gateways: Health) -> None:
        fail(gateways[0], 5)
        for gateway in gateways:
            await gateway.tick()
        due(valkey)
        for gateway in gateways:
            gateway._clock.now += 30.0  # type: ignore[attr-defined]
        verdicts = await asyncio.gather(*(g.allows(ONE, 5030.0) for g in gateways for _ in range(5)))
        assert [verdict.word for verdict in verdicts].count(PROBE) == 1
        assert sum(not verdict.is_skip for verdict in verdicts) == 1

    with_gateways(valkey_url, 4, test)


def test_a_probe_that_succeeds_starts_the_ramp_of_all(valkey: redis.Redis, valkey_url: str) -> None:
    """S4-18: the returning model is spared by every gateway."""

    async def test(a: Health, b: Health) -> None:
        fail(a, 5)
        await a.tick()
        await b.tick()
        due(valkey)
        b._clock.now += 30.0  # type: ignore[attr-defined]
        verdict = await b.allows(ONE, 5030.0)
        b.ok(ONE, 300_000_000, 900_000_000, verdict)
        await b.tick()
        await a.tick()
        assert [h.state(ONE) for h in (a, b)] == ["recovering", "recovering"]
        went = [not (await a.allows(ONE, 5000.0)).is_skip for _ in range(20)]
        assert sum(went) == 2

    with_gateways(valkey_url, 2, test)


def test_the_first_of_two_proposals_wins(valkey: redis.Redis, valkey_url: str) -> None:
    async def test(a: Health, b: Health) -> None:
        fail(a, 5)
        fail(b, 5)
        await asyncio.gather(a.tick(), b.tick())
        await asyncio.gather(a.tick(), b.tick())
        rows = board.read_states(flat(valkey))
        assert [row.version for row in rows.values()] == [1]
        assert [h.state(ONE) for h in (a, b)] == ["unhealthy", "unhealthy"]

    with_gateways(valkey_url, 2, test)


def test_a_board_that_is_lost_is_filled_anew_by_those_who_know(valkey: redis.Redis, valkey_url: str) -> None:
    async def test(a: Health, b: Health) -> None:
        fail(a, 5)
        await a.tick()
        valkey.flushall()
        await a.tick()
        await a.tick()
        await b.tick()
        assert [h.state(ONE) for h in (a, b)] == ["unhealthy", "unhealthy"]

    with_gateways(valkey_url, 2, test)


def test_a_gateway_that_comes_later_finds_what_is_known(valkey: redis.Redis, valkey_url: str) -> None:
    async def test(a: Health, late: Health) -> None:
        fail(a, 5)
        await a.tick()
        await late.tick()
        assert late.standing(ONE, 5000.0).is_open

    with_gateways(valkey_url, 2, test)


def test_latencies_are_those_of_all_gateways(valkey: redis.Redis, valkey_url: str) -> None:
    """S3-09: the fastest is known to a gateway that has not called it."""

    async def test(a: Health, b: Health) -> None:
        for _ in range(10):
            a.ok(ONE, 200_000_000, 2_000_000_000)
            b.ok(ONE, None, 3_000_000_000)
        b.ok(ONE, 400_000_000, 1)
        for _ in range(2):
            await a.tick()
            await b.tick()
        assert a.p95_ms(ONE, True) == b.p95_ms(ONE, True) == pytest.approx((10 * 200 + 400) / 11)
        assert a.p95_ms(ONE, False) == pytest.approx(3000)
        assert a.p95_ms(TWO, False) is None

    with_gateways(valkey_url, 2, test)


def test_without_valkey_each_gateway_judges_by_itself() -> None:
    """S2-25: fails open: the breaker works without its board."""

    async def test() -> None:
        client = Valkey("redis://127.0.0.1:1/0")
        await client.start()
        alone = Health(client, "gateway-0", Clock())
        fail(alone, 5)
        await alone.tick()
        assert alone.state(ONE) == "unhealthy"
        assert (await alone.allows(ONE, 5030.0)).word == PROBE
        await client.stop()

    asyncio.run(test())


def test_a_failure_reaches_the_board_at_once(
    valkey: redis.Redis, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FLUSH_SECONDS", 3600.0)

    async def test(a: Health) -> None:
        keeper = asyncio.create_task(a.keep())
        await asyncio.sleep(0)
        fail(a, 5)
        async with asyncio.timeout(10):
            while not board.read_states(flat(valkey)):  # noqa: ASYNC110 - nothing here says when another has written
                await asyncio.sleep(0.005)
        keeper.cancel()

    with_gateways(valkey_url, 1, test)


def test_a_name_on_the_board_says_whose_it_is() -> None:
    assert board.provider_and_model(board.name_of(TWO)) == (TWO.provider.id, TWO.model)
    assert board.provider_and_model("#") is None
    assert board.provider_and_model("x/y") is None
