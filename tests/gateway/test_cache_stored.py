"""What of a hit reaches the database, whoever reports it; and the answer kept for an emergency."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psycopg
import pytest
import redis

from gateway.cache_entry import Lookup
from gateway.call import Call
from gateway.dialects.dialect import Dialect
from gateway.dialects.openai import OpenAI
from gateway.response_cache import ResponseCache
from gateway.valkey import Valkey
from llmobs.cache import status
from llmobs.ingest.writing import Writer
from llmobs.ops.simulator.running import Running
from llmobs.ops.verify import verify
from llmobs.tenants.roster import TenantInfo
from tests.gateway.doors import a_door
from tests.gateway.running import Gateway, running
from tests.gateway.test_cache import BODY, ask, cache_of, grow_older, requests
from tests.gateway.test_cache_flights import at_once, slow
from tests.gateway.test_collector import PROTOBUF, TRACES, spans
from tests.gateway.written import shared_gateway, writer
from tests.stores import Stores

__all__ = ["shared_gateway", "writer"]

Connection = psycopg.Connection[Any]


def one(pg: Connection, sql: str) -> Any:
    row = pg.execute(sql).fetchone()
    assert row is not None
    return row


def test_a_hit_is_stored_as_a_call_that_cost_nothing_and_says_what_it_saved(
    http: httpx.Client, gateway: Gateway, writer: Writer, pg: Connection
) -> None:
    """S2-11: cost 0. S3-26: the lasting record of what was saved. S4-26: every call traceable."""
    ask(http)
    hit = ask(http)
    gateway.wait_until(gateway.is_quiet, "every call has ended")
    writer.drain()
    found = one(
        pg,
        "SELECT status, cost_nanousd, attributes->>'llmobs.cached_provider', request_model, response_id, "
        "attributes->>'llmobs.cache', "
        "(attributes->>'llmobs.saved_nanousd')::bigint, (attributes->>'llmobs.saved_output_tokens')::int "
        f"FROM span WHERE encode(span_id, 'hex') = '{hit.headers['x-llmobs-span-id']}'",
    )
    assert found == ("ok", 0, "openai", "gpt-4o-mini", hit.json()["id"], "hit-exact", 5 * 150 + 7 * 600, 7)
    assert one(pg, "SELECT count(*), sum(cost_nanousd) FROM bill WHERE cost_nanousd > 0") == (1, 4950)
    assert verify(pg).differences == []


@pytest.mark.parametrize("tokens", [(0, 0), (5, 7)])
def test_an_applications_own_span_about_a_hit_is_not_billed(
    http: httpx.Client, gateway: Gateway, writer: Writer, pg: Connection, tokens: tuple[int, int]
) -> None:
    """Also where the application counts tokens by itself: the gateway's own word goes before any report."""
    ask(http)
    hit = ask(http)
    report = spans(time.time_ns())
    [span] = report.resource_spans[0].scope_spans[0].spans
    span.start_time_unix_nano -= 10**9
    texts = {"operation.name": "chat", "provider.name": "openai", "request.model": "gpt-4o-mini"}
    for name, text in {**texts, "response.id": hit.json()["id"]}.items():
        span.attributes.add(key=f"gen_ai.{name}").value.string_value = text
    for name, count in zip(("input", "output"), tokens, strict=True):
        span.attributes.add(key=f"gen_ai.usage.{name}_tokens").value.int_value = count
    assert http.post(TRACES, content=report.SerializeToString(), headers=PROTOBUF).status_code == 200
    gateway.wait_until(gateway.is_quiet, "every call has ended")
    writer.drain()
    assert one(pg, "SELECT count(*) FROM span") == (3,)
    assert one(pg, "SELECT sum(cost_nanousd) FROM bill") == (4950,)
    assert one(pg, "SELECT count(*) FROM span WHERE is_counted AND source = 2") == (0,)
    assert verify(pg).differences == []


# ---------------------------------------------------------------- an emergency


def another_call(gateway: Gateway, tenant_id: int, content: str) -> Call:
    """The same request once more, as the stages before admission leave it."""
    assert gateway.plane is not None
    assert gateway.plane.snapshot is not None
    dialect: Dialect = OpenAI()
    headers = {b"x-llmobs-cache": b"exact"}
    call = Call(dialect, headers, a_door(headers), time.time_ns(), time.monotonic_ns())
    roster = gateway.plane.snapshot.roster
    call.tenant = roster.tenants[tenant_id]
    assert isinstance(call.tenant, TenantInfo)
    call.key = next(iter(roster.keys.values()))
    call.span_id = bytes(8)
    call.body = content.encode()
    call.asked = dialect.read(call.body)
    call.candidates = gateway.plane.snapshot.candidates(tenant_id, "gpt-4o-mini", "openai", call.started_ns)
    return call


def stale_answer(gateway: Gateway, tenant_id: int, content: str) -> Call | None:
    """The call that an emergency answered; None: there is nothing to answer with."""

    async def run() -> Call | None:
        valkey = Valkey(gateway.wiring.valkey_url)
        await valkey.start()
        try:
            cache = ResponseCache(valkey, gateway.wiring.journal_key)
            call = another_call(gateway, tenant_id, content)
            call.cached = cache.wants(call)
            assert isinstance(call.cached, Lookup)
            return call if await cache.stale(call) else None
        finally:
            await valkey.stop()

    return asyncio.run(run())


def test_an_emergency_is_answered_with_what_is_past_its_time(
    http: httpx.Client, gateway: Gateway, valkey: redis.Redis, tenant: int
) -> None:
    """S3-11, S4-05: the third level is the best cached answer, marked."""
    first = ask(http)
    content = first.request.content.decode()
    grow_older(valkey, 7200)
    call = stale_answer(gateway, tenant, content)
    assert call is not None
    assert call.answer is not None
    assert (call.cache, call.degraded, call.answer.status) == ("stale", "stale_cache", 200)
    assert int(dict(call.answer.headers)[b"age"]) >= 7200
    assert first.json()["choices"][0]["message"]["content"].encode() in call.answer.body
    assert json.loads(call.answer.body)["id"] == call.answered_id != first.json()["id"]


def test_an_emergency_never_brings_back_what_was_invalidated(
    http: httpx.Client, gateway: Gateway, valkey: redis.Redis, tenant: int
) -> None:
    """S4-26: what was invalidated is gone, for emergencies too."""
    content = ask(http).request.content.decode()
    status.invalidate(valkey, tenant, ["model:gpt-4o-mini"])
    assert stale_answer(gateway, tenant, content) is None


def test_two_gateways_share_one_cache(
    http: httpx.Client, gateway: Gateway, tmp_path: Path, migrated: Stores, valkey_url: str
) -> None:
    """S2-18: distributed."""
    ask(http)
    with running(tmp_path / "second", migrated.database_url, valkey_url) as second:
        second.wait_until(lambda: second.plane is not None and second.plane.snapshot is not None, "it is configured")
        answer = httpx.post(
            f"{second.url}/v1/chat/completions",
            json=BODY,
            headers={"authorization": http.headers["authorization"], "x-llmobs-cache": "exact"},
        )
    assert cache_of(answer) == "hit-exact"


def test_identical_requests_at_two_gateways_are_one_upstream(
    gateway: Gateway, secret: str, simulator: Running, tmp_path: Path, migrated: Stores, valkey_url: str
) -> None:
    """S2-44: deduplicated across gateways."""
    with running(tmp_path / "second", migrated.database_url, valkey_url) as second:
        second.wait_until(lambda: second.plane is not None and second.plane.snapshot is not None, "it is configured")

        async def both() -> list[list[httpx.Response]]:
            bodies = [slow(300)] * 10
            return await asyncio.gather(*(at_once(each, secret, bodies) for each in (gateway, second)))

        answers = [answer for each in asyncio.run(both()) for answer in each]
    assert sorted(cache_of(answer) for answer in answers) == ["hit-exact"] * 19 + ["miss"]
    assert requests(simulator) == 1
