"""An admission whose reply was lost is asked again: limits count the call once, as its budgets hold it once."""

from typing import Any

import httpx2 as httpx
import pytest

from gateway.forms import Filled
from gateway.front import ADMIT_AGAIN
from gateway.plane import Plane
from gateway.valkey import Away
from llmobs.budgets.ledger import Command
from llmobs.budgets.scripts import Script
from tests.gateway.running import Gateway
from tests.gateway.test_limits import CHAT, GOOD, Limited, limited
from tests.gateway.world import World

__all__ = ["limited"]


@pytest.fixture
def plane(gateway: Gateway, budget: int) -> Plane:
    assert gateway.plane is not None
    attempts = gateway.plane.holds.attempts
    gateway.wait_until(lambda: attempts.is_joined, "the ledger is joined")
    return gateway.plane


def test_what_was_taken_is_not_taken_twice(
    limited: Limited,
    gateway: Gateway,
    plane: Plane,
    http: httpx.Client,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Room for one call alone, of each unit: a second take would be refused."""
    assert http.post(CHAT, json=GOOD).status_code == 200  # from here on all that a call needs is at hand
    gateway.wait_until(lambda: world.ledger()["held"] == 0, "the first is settled")
    limited.by(1)
    limited.by(1, unit="concurrent", per="")
    limited.by(180, unit="tokens")
    heard, lost = plane.holds.heard, list[Any]()

    def lose_the_first(attempt: str, reply: Any) -> Any:
        if not lost and isinstance(reply, list) and reply[0] == 1:  # the canary is asked too, and refused
            lost.append(reply)
            return None
        return heard(attempt, reply)

    monkeypatch.setattr(plane.holds, "heard", lose_the_first)
    answer = http.post(CHAT, json={**GOOD, "max_tokens": 100})
    assert (answer.status_code, len(lost)) == (200, 1)
    gateway.wait_until(lambda: world.ledger()["held"] == 0, "settled")
    used = answer.json()["usage"]["total_tokens"]
    gateway.wait_until(lambda: limited.counted("tokens") == used, "its tokens are what it used")
    assert limited.counted("requests") == 1
    gateway.wait_until(lambda: not world.valkey.keys("limit:*concurrent*"), "its place is free")
    assert http.post(CHAT, json=GOOD).status_code == 429


def test_one_that_had_not_been_let_in_is_let_in_then(
    limited: Limited, plane: Plane, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited.by(1)
    send, tried = plane.holds.valkey.send_script, list[Script]()

    def no_form(command: Command) -> Any:
        if isinstance(command, Filled):
            raise Away("lost")
        tried.append(command.script)
        return send(command)

    monkeypatch.setattr(plane.holds.valkey, "send_script", no_form)
    assert http.post(CHAT, json=GOOD).status_code == 200
    assert ADMIT_AGAIN in tried
    assert limited.counted("requests") == 1
