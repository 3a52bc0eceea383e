"""S2-02: a session that runs away is slowed, then paused, by the gateway that sees it and by all others."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
import redis

from gateway import brake as brakes
from gateway import snapshot
from llmobs.brake.link import pause_of
from llmobs.brake.track import Track
from llmobs.ingest.entries import Braked
from tests.gateway.running import PLATFORM_SECRET, Gateway, running
from tests.gateway.world import World
from tests.stores import Stores

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
SESSION = {"x-llmobs-session": "night-job"}
TEXT = "Please check once more whether the report is there"
# The simulator's answer of 64 tokens of gpt-4o costs 0.00064 USD: the cost mark is reached by the second call.
MARKS = {"alike_calls": 6, "cost_usd": "0.001", "first_delay_ms": 10, "most_delay_ms": 10, "slope_factor": 1000}


def body(text: str = TEXT, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], "max_tokens": 64, **fields}


@pytest.fixture(autouse=True)
def _forgotten(gateway: Gateway, valkey: redis.Redis) -> None:
    """The gateway is shared, and its tenants have the same numbers in each test."""
    forget(gateway)
    for key in valkey.scan_iter("brake:*"):
        valkey.delete(key)


def forget(gateway: Gateway) -> None:
    """Until nothing of a session is remembered, nor on its way to Valkey: commands are answered in their order."""
    assert gateway.plane is not None
    brake = gateway.plane.brake

    async def ask() -> None:
        brake._tracks.clear()
        await brake._valkey.call("PING")

    task = brake._valkey._task
    assert task is not None
    asyncio.run_coroutine_threadsafe(ask(), task.get_loop()).result(10)


def track_of(gateway: Gateway) -> Track:
    """What it remembers of the session."""
    assert gateway.plane is not None
    return next(track for subject, track in gateway.plane.brake._tracks if subject.name == "night-job")


def braked(gateway: Gateway, world: World, mode: str = "pause", **marks: Any) -> None:
    told = json.dumps({**MARKS, **marks})
    world.pg.execute("UPDATE tenants_tenant SET brake = %s, brake_marks = %s", (mode, told))
    gateway.wait_for_config(world.version())


def ask(http: httpx.Client, times: int, **fields: Any) -> list[str]:
    """What each of so many equal calls came to: "" or the reason of its refusal."""
    answers = [http.post(CHAT, json=body(**fields), headers=SESSION) for _ in range(times)]
    return [answer.headers.get("x-llmobs-reason", "") for answer in answers]


def episodes(gateway: Gateway) -> list[tuple[str, str]]:
    return [(entry.kind, entry.state) for entry in gateway.entries() if isinstance(entry, Braked)]


def test_a_loop_is_slowed_and_then_paused(gateway: Gateway, http: httpx.Client, world: World) -> None:
    braked(gateway, world)
    assert ask(http, 9) == ["", "", "", "", "", "", "runaway_paused", "runaway_paused", "runaway_paused"]
    assert episodes(gateway) == [("session", "slowed"), ("session", "paused")]


def test_the_refusal_says_what_was_seen_and_where_to_release_it(
    gateway: Gateway, http: httpx.Client, world: World
) -> None:
    braked(gateway, world)
    ask(http, 7)
    answer = http.post(CHAT, json=body(), headers=SESSION)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (429, "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"
    assert "the session 'night-job' is paused by the runaway brake" in error["message"]
    assert "7 calls within 10 min, 6 of them with near-identical prompts, 0.00 USD" in error["message"]
    token = error["message"].rpartition("/brake/")[2].rstrip("/")
    paused = [entry for entry in gateway.entries() if isinstance(entry, Braked)][-1]
    assert pause_of(token, PLATFORM_SECRET) == paused.id
    another = "1" if token[0] == "0" else "0"
    assert pause_of(another + token[1:], PLATFORM_SECRET) is None
    refused = gateway.refusals()[-1]
    assert (refused.reason, refused.details["pause"]) == ("runaway_paused", paused.id)


def test_anthropics_callers_get_their_own_error(gateway: Gateway, http: httpx.Client, world: World) -> None:
    braked(gateway, world)
    asked = {"model": "claude-sonnet-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": TEXT}]}
    answers = [http.post(MESSAGES, json=asked, headers=SESSION) for _ in range(8)]
    assert (answers[-1].status_code, answers[-1].json()["error"]["type"]) == (402, "billing_error")


def test_a_counter_makes_no_new_prompt(gateway: Gateway, http: httpx.Client, world: World) -> None:
    braked(gateway, world)
    reasons = [ask(http, 1, text=f"{TEXT}, this is attempt {number}")[0] for number in range(8)]
    assert reasons[-1] == "runaway_paused"


def test_a_session_that_says_new_things_goes_on(gateway: Gateway, http: httpx.Client, world: World) -> None:
    braked(gateway, world)
    nouns = ["river", "mountain", "engine", "violin", "harbour", "candle", "orchard", "meadow", "lantern", "saddle"]
    assert [ask(http, 1, text=f"Please explain to me what a {noun} is")[0] for noun in nouns] == [""] * 10


def test_other_sessions_go_on(gateway: Gateway, http: httpx.Client, world: World) -> None:
    braked(gateway, world)
    ask(http, 8)
    assert http.post(CHAT, json=body(), headers={"x-llmobs-session": "another"}).status_code == 200
    assert http.post(CHAT, json=body()).status_code == 200


def test_without_a_session_the_loop_of_a_key_is_stopped_and_not_the_key(
    gateway: Gateway, http: httpx.Client, world: World
) -> None:
    braked(gateway, world, key_factor=2)
    reasons = [http.post(CHAT, json=body()).headers.get("x-llmobs-reason", "") for _ in range(14)]
    assert reasons == [""] * 12 + ["runaway_paused"] * 2
    assert http.post(CHAT, json=body("Something else altogether")).status_code == 200


def test_below_the_cost_mark_nothing_is_stopped(gateway: Gateway, http: httpx.Client, world: World) -> None:
    braked(gateway, world, cost_usd="1.00")
    assert ask(http, 20) == [""] * 20


def test_a_brake_that_logs_stops_nothing_and_tells_once(gateway: Gateway, http: httpx.Client, world: World) -> None:
    braked(gateway, world, mode="log")
    assert ask(http, 10) == [""] * 10
    assert episodes(gateway) == [("session", "noted")]


def test_a_brake_that_is_off_remembers_nothing(gateway: Gateway, http: httpx.Client, world: World) -> None:
    assert gateway.plane is not None
    before = len(gateway.plane.brake._tracks)
    assert ask(http, 10) == [""] * 10
    assert len(gateway.plane.brake._tracks) == before


def test_calls_that_wait_hold_nothing_and_are_few(gateway: Gateway, http: httpx.Client, world: World) -> None:
    """More than may wait are refused at once, with when to come again."""
    braked(gateway, world, mode="slow", most_waiting=1, first_delay_ms=10)
    ask(http, 6)
    track = track_of(gateway)
    assert track.state == "slowed"
    track.waiting = 1
    answer = http.post(CHAT, json=body(), headers=SESSION)
    assert (answer.status_code, answer.headers["x-llmobs-reason"]) == (429, "runaway_slowed")
    assert answer.headers["retry-after"] == "1"
    track.waiting = 0
    assert ask(http, 1) == [""]


def test_one_that_calmed_down_and_begins_again_is_told_again(
    gateway: Gateway, http: httpx.Client, world: World
) -> None:
    braked(gateway, world, mode="slow")
    ask(http, 6)
    for noun in ("river", "mountain"):
        ask(http, 1, text=f"Now please explain to me what a {noun} is")
    track = track_of(gateway)
    track.exact.clear()
    track.now.same = 0
    ask(http, 1, text="Thanks for that, and one more lantern")
    assert (track.state, track.delays) == ("", 0)
    ask(http, 8)
    assert episodes(gateway) == [("session", "slowed")] * 2
    told = [entry.id for entry in gateway.entries() if isinstance(entry, Braked)]
    assert told[0] != told[1]


@pytest.fixture
def second(tmp_path_factory: pytest.TempPathFactory, gateway: Gateway, migrated: Stores) -> Iterator[Gateway]:
    """Another gateway of the same platform, that hears of nothing by the configuration while the test runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "POLL_SECONDS", 0.02)
        wiring = gateway.wiring
        with running(tmp_path_factory.mktemp("second"), wiring.database_url, wiring.valkey_url) as other:
            yield other


def test_gateways_share_their_evidence_and_the_pause(
    gateway: Gateway,
    second: Gateway,
    http: httpx.Client,
    world: World,
    secret: str,
    valkey: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S2-02: by Valkey alone: no writer runs here, so no row comes back with the configuration.

    Each hears what the other saw, whoever told first, and of the pause, without another call.
    """
    monkeypatch.setattr(brakes, "SHARE_SECONDS", 0.01)
    braked(gateway, world, window_seconds=43_200)
    second.wait_for_config(world.version())
    headers = {"authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=second.url, headers=headers) as other:
        assert ask(http, 4) + ask(other, 2) == [""] * 6
        here, there = track_of(gateway), track_of(second)
        second.wait_until(lambda: there.others.alike == 3, "the first one's evidence has come")
        gateway.wait_until(lambda: here.others.alike == 1, "the second one's evidence has come")
        assert ask(other, 3) == ["", "runaway_paused", "runaway_paused"]
        gateway.wait_until(lambda: here.state == "paused", "the other's pause has come")
        assert ask(http, 1) == ["runaway_paused"]
    keys = [key.decode() for key in valkey.scan_iter("brake:*")]
    assert keys[0].startswith("brake:{")
    assert 0 < valkey.ttl(keys[0]) <= 24 * 3600


def test_a_pause_comes_with_the_configuration_and_ends_with_it(
    gateway: Gateway, http: httpx.Client, world: World, valkey: redis.Redis
) -> None:
    """S2-02: a row of PostgreSQL is enough: another gateway, or this one after a start, refuses by it alone."""
    braked(gateway, world)
    ask(http, 7)
    paused = [entry for entry in gateway.entries() if isinstance(entry, Braked)][-1]
    forget(gateway)
    assert ask(http, 1) == [""]
    world.pg.execute(
        "INSERT INTO braked_session (id, tenant_id, mark, kind, key_id, user_id, session_id, feature, model, trace_id, "
        "state, begun_at, changed_at, until, told, evidence, ended_by) VALUES (%s, %s, %s, 'session', 0, '', "
        "'night-job', '', '', '', 'paused', now(), now(), now() + interval '1 hour', 'seen', '{}', '')",
        (paused.id, paused.tenant_id, paused.mark),
    )
    gateway.wait_for_config(world.version())
    assert ask(http, 1) == ["runaway_paused"]
    world.pg.execute("UPDATE braked_session SET state = 'released', ended_at = now()")
    gateway.wait_for_config(world.version())
    assert ask(http, 5) == [""] * 5
