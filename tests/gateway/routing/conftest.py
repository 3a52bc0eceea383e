"""Two providers at the far end of the wire that fail as they are told, and a route over them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2 as httpx
import pytest

from llmobs.providers.registry import CandidateInfo
from tests.gateway.faulty import Faulty, faulty
from tests.gateway.running import Gateway
from tests.gateway.test_cache import called
from tests.gateway.world import World

CHAT, MODEL = "/v1/chat/completions", "gpt-4o-mini"
EXACT = 3 * 150 + 2 * 600  # by hand: what a far end reports, at the list's prices


@dataclass
class Pair:
    """The route `pair`: first `one`, then `two`. Nobody is retried unless a test says so."""

    one: Faulty
    two: Faulty
    gateway: Gateway
    world: World
    http: httpx.Client
    ids: dict[str, int] = field(default_factory=dict)

    def route(self, **fields: Any) -> None:
        for name, value in fields.items():
            self.world.pg.execute(f"UPDATE providers_route SET {name} = %s WHERE name = 'pair'", (value,))

    def providers(self, **fields: Any) -> None:
        for name, value in fields.items():
            self.world.pg.execute(f"UPDATE providers_provider SET {name} = %s WHERE name IN ('one', 'two')", (value,))

    def ask(self, headers: dict[str, str] | None = None, text: str = "one two", **fields: Any) -> httpx.Response:
        self.gateway.wait_for_config(self.world.version())
        body = {"model": "pair", "messages": [{"role": "user", "content": text}], "max_tokens": 20, **fields}
        return self.http.post(CHAT, json=body, headers=headers or {})

    def bills(self) -> list[tuple[str, str, str, str]]:
        """Of each attempt that began: provider, status, error type, and what it was billed. Nothing is held then."""
        self.gateway.wait_until(self.gateway.is_quiet, "every attempt has ended")
        self.gateway.wait_until(lambda: self.world.ledger()["held"] == 0, "nothing is held")
        ends = {end.attempt: end for end in self.gateway.ends()}
        assert len(ends) == len(self.gateway.ends())
        found, billed = [], 0
        for begin in self.gateway.begins():
            end = ends[begin.attempt]
            billed += end.cost_nanousd or 0
            words = {None: "nothing", EXACT: "exact", begin.held_nanousd: "hold"}
            found.append((begin.provider_name, end.status, end.error_type, words[end.cost_nanousd]))
        assert self.world.ledger()["pending"] == billed
        return found

    def call_status(self) -> str:
        """Of the one call's own span."""
        [call] = self.gateway.wait_until(lambda: called(self.gateway), "the call's own span")
        return call.status

    def states(self) -> list[str]:
        """Of the two by their breakers."""
        plane = self.gateway.plane
        assert plane is not None
        assert plane.snapshot is not None
        candidates: tuple[CandidateInfo, ...] = plane.snapshot.registry.routes["pair"].candidates
        return [plane.health.state(candidate) for candidate in candidates]


@pytest.fixture
def pair(gateway: Gateway, world: World, http: httpx.Client, budget: int) -> Iterator[Pair]:
    with faulty() as one, faulty() as two:
        ids = {
            "one": world.provider("one", "openai", one.url, prices_like="openai"),
            "two": world.provider("two", "openai", two.url, prices_like="openai"),
        }
        world.route("pair", *((provider_id, MODEL) for provider_id in ids.values()))
        yield Pair(one, two, gateway, world, http, ids)


def who(response: httpx.Response) -> tuple[int, str, str, str]:
    """Status, provider, attempts, and why it is not the primary's."""
    names = ("x-llmobs-provider", "x-llmobs-attempts", "x-llmobs-degraded")
    provider, attempts, degraded = (response.headers.get(name, "") for name in names)
    return response.status_code, provider, attempts, degraded
