"""Someone flushes Valkey's scripts while calls are under way: what they hold and took is given back all the same."""

import threading

import httpx2 as httpx
import pytest
import redis

from tests.gateway.running import Gateway
from tests.gateway.test_limits import CHAT, GOOD, Limited, limited
from tests.gateway.world import World

__all__ = ["limited"]


@pytest.mark.parametrize("status", [200, 400])
def test_a_call_under_way_is_settled_and_gives_its_place_back(
    status: int,
    budget: int,
    limited: Limited,
    gateway: Gateway,
    http: httpx.Client,
    world: World,
    valkey: redis.Redis,
) -> None:
    """By the scripts' text, where the server has forgotten their names."""
    limited.by(1, unit="concurrent", per="")
    limited.by(10_000, unit="tokens")
    text = f"[[simulate slow_ms=300{'' if status == 200 else ', status=400'}]] one two"
    body = {**GOOD, "messages": [{"role": "user", "content": text}]}
    answers: list[int] = []
    caller = threading.Thread(target=lambda: answers.append(http.post(CHAT, json=body).status_code))
    caller.start()
    gateway.wait_until(lambda: world.ledger()["held"], "it holds")
    valkey.script_flush()
    caller.join()
    assert answers == [status]
    gateway.wait_until(lambda: world.ledger()["held"] == 0, "it was settled")
    ends = gateway.ends()
    assert world.ledger()["pending"] == sum(end.cost_nanousd or 0 for end in ends)
    used = sum(end.usage.total for end in ends if end.usage is not None)
    gateway.wait_until(lambda: limited.counted("tokens") == used, "its tokens are what it used")
    gateway.wait_until(lambda: not valkey.keys("limit:*concurrent*"), "its place is free")
    assert http.post(CHAT, json=GOOD).status_code == 200
