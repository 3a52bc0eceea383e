"""Identical requests at once: one goes upstream, in one gateway and across several; nobody waits for ever."""

import asyncio
import time
from typing import Any

import httpx2 as httpx
import redis

from llmobs.budgets.ledger import text
from llmobs.cache import status, store
from llmobs.ops.simulator.running import Running
from tests.gateway.running import Gateway
from tests.gateway.test_cache import BODY, CHAT, EXACT, ask, cache_of, requests


def flight_of(tenant_id: int, entry_key: str | bytes) -> str:
    """The mark of the request whose entry rests under this key."""
    return store.flight_key(tenant_id, text(entry_key).rsplit(":", 1)[1])


def slow(milliseconds: int, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"[[simulate slow_ms={milliseconds}]] one two"}]
    return {**BODY, "messages": messages, **fields}


async def at_once(gateway: Gateway, secret: str, bodies: list[dict[str, Any]]) -> list[httpx.Response]:
    headers = {"authorization": f"Bearer {secret}", **EXACT}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=15) as client:
        return list(await asyncio.gather(*(client.post(CHAT, json=body) for body in bodies)))


def test_fifty_identical_requests_at_once_are_one_upstream(
    gateway: Gateway, secret: str, simulator: Running, valkey: redis.Redis, tenant: int
) -> None:
    """S2-44: request deduplication, in flight."""
    answers = asyncio.run(at_once(gateway, secret, [slow(200, stream=n % 5 == 0) for n in range(50)]))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(cache_of(answer) for answer in answers) == ["hit-exact"] * 49 + ["miss"]
    assert requests(simulator) == 1
    books = status.books(valkey, [tenant])[0]
    assert (books.hits, books.misses) == (49, 1)
    assert len({answer.json()["id"] for answer in answers if answer.text.startswith("{")}) == 40


def test_a_first_one_that_fails_lets_the_others_try_one_by_one(
    gateway: Gateway, secret: str, simulator: Running
) -> None:
    body = {**BODY, "messages": [{"role": "user", "content": "[[simulate status=400, slow_ms=20]] one"}]}
    answers = asyncio.run(at_once(gateway, secret, [body] * 5))
    assert {answer.status_code for answer in answers} == {400}
    gateway.wait_until(lambda: len(gateway.ends()) == 5, "each has tried")
    ends = sorted(begin.start_ns for begin in gateway.begins())
    assert len(ends) == 5
    assert gateway.plane is not None
    assert len(gateway.plane.cache.flights) == 0


def test_another_gateways_flight_is_waited_for(
    gateway: Gateway, http: httpx.Client, valkey: redis.Redis, simulator: Running, tenant: int
) -> None:
    """S2-44: across gateways by a mark in Valkey."""
    ask(http)
    [entry] = valkey.keys("llm:*")
    kept = valkey.dump(entry)
    assert isinstance(kept, bytes)
    valkey.delete(entry)
    mark = flight_of(tenant, entry)
    valkey.set(mark, "another gateway's call", px=10_000)

    async def wait_and_land() -> httpx.Response:
        headers = dict(http.headers)
        async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=15) as client:
            waiting = asyncio.ensure_future(client.post(CHAT, json=BODY, headers=EXACT))
            await asyncio.wait([waiting], timeout=0.1)
            assert not waiting.done()
            valkey.restore(entry, 0, kept)
            valkey.delete(mark)
            return await waiting

    assert cache_of(asyncio.run(wait_and_land())) == "hit-exact"
    assert requests(simulator) == 1


def test_patience_with_another_gateways_flight_has_an_end(
    http: httpx.Client, valkey: redis.Redis, simulator: Running, tenant: int
) -> None:
    ask(http)
    [entry] = valkey.keys("llm:*")
    valkey.delete(entry)
    valkey.set(flight_of(tenant, entry), "a dead gateway's call", px=10_000)
    began = time.monotonic()
    assert cache_of(ask(http, headers={"x-llmobs-timeout": "0.2"})) == "miss"
    assert time.monotonic() - began < 5
    assert requests(simulator) == 2


def test_a_client_that_leaves_while_it_waits_is_no_longer_waited_for(gateway: Gateway, secret: str) -> None:
    async def run() -> None:
        headers = {"authorization": f"Bearer {secret}", **EXACT}
        async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=15) as client:
            first = asyncio.ensure_future(client.post(CHAT, json=slow(600)))
            await asyncio.wait([first], timeout=0.1)
            second = asyncio.ensure_future(client.post(CHAT, json=slow(600)))
            await asyncio.wait([second], timeout=0.1)
            second.cancel()
            assert (await first).status_code == 200

    asyncio.run(run())
    refused = gateway.wait_until(gateway.refusals, "the one that left")
    assert [refusal.reason for refusal in refused] == ["client_gone"]
    assert len(gateway.begins()) == 1
