"""Tiers of service that nobody asked for: what is held goes by what the provider may give, said or learned."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import httpx2 as httpx
import psycopg
import pytest
from django.utils import timezone

from gateway.plane import Plane
from llmobs.alerts.overruns import raise_overruns
from llmobs.providers.models import Overrun
from llmobs.tenants.plain_connection import plain_connection
from tests.gateway.far_end import answering, json_response
from tests.gateway.running import Gateway
from tests.gateway.world import World

CHAT = "/v1/chat/completions"
# gpt-5 at 1.25 and 10 USD per million tokens, priority twice as much, flex half.
ASKED: dict[str, Any] = {"model": "p/gpt-5", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 100}


def length(body: dict[str, Any]) -> int:
    return len(httpx.Request("POST", "http://x", json=body).content)


def hold(times: int = 1, **more: Any) -> int:
    """In nano-USD; bytes of the request stand for tokens."""
    return times * (length({**ASKED, **more}) * 1_250 + 100 * 10_000)


def answer(tier: str, output: int = 100) -> bytes:
    usage = {"prompt_tokens": 60, "completion_tokens": output, "total_tokens": 60 + output}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}
    body = {"id": "c1", "object": "chat.completion", "model": "gpt-5", "service_tier": tier, "choices": [choice]}
    return json_response(json.dumps({**body, "usage": usage}).encode())


class Served:
    """A gateway with a provider that answers at one tier, and a budget."""

    def __init__(self, world: World, gateway: Gateway, http: httpx.Client, far_end: Callable[[str], str]) -> None:
        self.world, self.gateway, self.http, self._far_end = world, gateway, http, far_end

    def provider(self, tier: str, **fields: Any) -> None:
        self.world.provider("p", "openai", f"{self._far_end(tier)}/v1", prices_like="openai", **fields)
        self.gateway.wait_for_config(self.world.version())

    def held(self, **more: Any) -> int | None:
        """What a call holds."""
        before = len(self.gateway.begins())
        assert self.http.post(CHAT, json={**ASKED, **more}).status_code == 200
        return self.gateway.wait_until(lambda: self.gateway.begins()[before:], "begun")[0].held_nanousd


@pytest.fixture
def served(world: World, gateway: Gateway, http: httpx.Client, budget: int) -> Iterator[Served]:
    with ExitStack() as stack:
        yield Served(world, gateway, http, lambda tier: stack.enter_context(answering(answer(tier))).url)
        # What the shared gateway has learned, the next test's must not know.
        gateway.wait_until(gateway.is_quiet, "every call has ended")
        assert gateway.plane is not None
        gateway.wait_until(partial(_is_written, gateway.plane), "written down")


def _is_written(plane: Plane) -> bool:
    return plane.overruns.waiting == 0


def test_a_provider_says_at_which_tier_its_account_answers(served: Served) -> None:
    served.provider("priority", default_service_tier="priority")
    assert served.held() == hold(2)
    assert Overrun.objects.count() == 0


@pytest.mark.parametrize(("tier", "times"), [("default", 1), ("flex", 1), ("priority", 2), ("auto", 2)])
def test_a_request_that_names_its_tier_is_held_at_that(served: Served, tier: str, times: int) -> None:
    served.provider("default", default_service_tier="priority")
    assert served.held(service_tier=tier) == hold(times, service_tier=tier)


def test_what_an_answer_tells_is_held_for_at_once_and_the_operators_hear_of_it(
    served: Served, pg: psycopg.Connection[Any]
) -> None:
    served.provider("priority")
    assert served.held() == hold(1)
    assert served.held() == hold(2)
    served.gateway.wait_until(lambda: Overrun.objects.exists(), "written down")
    row = Overrun.objects.get()
    billed = 2 * (60 * 1_250 + 100 * 10_000)
    assert (row.model, row.tier, row.held_nanousd, row.cost_nanousd) == ("gpt-5", "priority", hold(1), billed)
    assert raise_overruns(plain_connection(), timezone.now()) == 1
    assert raise_overruns(plain_connection(), timezone.now()) == 0
    told = pg.execute("SELECT tenant_id, kind, severity, title FROM alerts_alert").fetchall()
    assert told == [
        (None, "bill_above_hold", "critical", "p/gpt-5 answered at the tier priority, which is held for from now on")
    ]
    # Other gateways have it from the database; what the database forgets is forgotten here too.
    served.gateway.wait_for_config(served.world.version())
    row.delete()
    served.gateway.wait_for_config(served.world.version())
    assert raise_overruns(plain_connection(), timezone.now()) == 0
    assert pg.execute("SELECT state FROM alerts_alert").fetchall() == [("resolved",)]
    assert served.held() == hold(1)


def test_a_dearer_tier_is_learned_from_a_short_answer_too(served: Served, world: World, gateway: Gateway) -> None:
    with answering(answer("priority", output=1)) as far_end:
        world.provider("p", "openai", f"{far_end.url}/v1", prices_like="openai")
        gateway.wait_for_config(world.version())
        assert served.held() == hold(1)
        assert served.held() == hold(2)
    gateway.wait_until(lambda: Overrun.objects.exists(), "written down")


def test_a_cheaper_tier_changes_nothing(served: Served) -> None:
    served.provider("flex")
    assert [served.held(), served.held()] == [hold(1), hold(1)]
    assert Overrun.objects.count() == 0
