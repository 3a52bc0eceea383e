"""The process: ready, alive, measured; and what it does while its stores are away."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

from gateway import serving
from gateway.snapshot import SnapshotKeeper
from llmobs.ops.simulator.running import Running
from tests.gateway.running import Gateway, running
from tests.gateway.test_collector import PROTOBUF, TRACES, spans
from tests.gateway.test_refusals import error_of
from tests.gateway.world import World

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
GOOD: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "one two"}], "max_tokens": 5}
NOBODY = "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"


@pytest.fixture
def gateway(
    tmp_path: Path, world: World, secret: str, providers: dict[str, int], database_url: str, valkey_url: str
) -> Iterator[Gateway]:
    """Each test its own: what they look at is the process."""
    with running(tmp_path, database_url, valkey_url) as gateway:
        gateway.wait_for_config(world.version())
        yield gateway


def test_it_is_alive_and_ready_with_snapshot_and_journal(http: httpx.Client) -> None:
    """S2-15: what load balancers ask."""
    assert http.get("/healthz").status_code == 200
    assert (http.get("/readyz").status_code, http.get("/readyz").text) == (200, "ready\n")


def test_it_counts_what_it_does(http: httpx.Client) -> None:
    """S2-14: calls, those that failed or were refused, the cache's hits: rates of them are divisions."""
    http.post(CHAT, json=GOOD)
    http.post(CHAT, json={**GOOD, "model": "no-such-model"})
    http.post(CHAT, json={**GOOD, "messages": [{"role": "user", "content": "[[simulate status=400]]"}]})
    for _ in range(2):
        http.post(CHAT, json={**GOOD, "temperature": 0}, headers={"x-llmobs-cache": "exact"})
    text = http.get("/metrics").text
    assert 'llmobs_calls_total{dialect="openai",status="ok"} 2.0' in text
    assert 'llmobs_cached_total{cache="hit-exact"} 1.0' in text
    assert 'llmobs_calls_total{dialect="openai",status="failed"} 1.0' in text
    assert 'llmobs_refused_total{reason="unknown_model"} 1.0' in text


def test_it_says_which_configuration_it_serves_by(gateway: Gateway, world: World) -> None:
    version = world.version()

    def beats() -> bool:
        sql = "SELECT config_version FROM heartbeat WHERE owner = %s AND kind = 'gateway'"
        row = world.pg.execute(sql, (gateway.wiring.owner,)).fetchone()
        return row is not None and row[0] >= version

    gateway.wait_until(beats, "its heartbeat")


@pytest.mark.parametrize(("path", "code"), [(CHAT, "invalid_api_key"), (MESSAGES, "authentication_error")])
def test_a_revoked_key_is_refused_within_a_second(
    gateway: Gateway, http: httpx.Client, world: World, path: str, code: str
) -> None:
    def seconds_until_refused() -> float:
        world.pg.execute("UPDATE tenants_key SET revoked_at = NULL")
        gateway.wait_until(lambda: http.post(CHAT, json=GOOD).status_code == 200, "served")
        world.pg.execute("UPDATE tenants_key SET revoked_at = now()")
        began = time.monotonic()
        gateway.wait_until(lambda: http.post(CHAT, json=GOOD).status_code != 200, "refused")
        return time.monotonic() - began

    # What else runs on the machine can only add to it: one in time shows that we are.
    assert any(seconds_until_refused() < 1.0 for _ in range(20))
    assert error_of(http.post(path, json=GOOD)) == (401, "revoked_key", code)


def test_both_sdks_list_the_models_of_a_key(
    gateway: Gateway, secret: str, world: World, providers: dict[str, int]
) -> None:
    world.route("smart", (providers["openai"], "gpt-4o-mini"))
    gateway.wait_for_config(world.version())
    ours = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret).models.list()
    theirs = anthropic.Anthropic(base_url=gateway.url, api_key=secret).models.list()
    listed = {model.id: model.owned_by for model in ours}
    assert (listed["smart"], listed["gpt-4o-mini"], listed["claude-sonnet-4-5"]) == ("llmobs", "openai", "anthropic")
    assert {model.id for model in theirs} == set(listed)


def test_a_key_is_told_of_what_it_may_call_alone(
    gateway: Gateway, tenant: int, world: World, providers: dict[str, int]
) -> None:
    """S0-07: the list is what can stand in "model": aliases, and what enabled providers are known to serve."""
    world.route("smart", (providers["openai"], "gpt-4o-mini"))
    world.route("nobody-left", (world.provider("off", "openai", "http://off.test/v1", is_enabled=False), "m"))
    secret = world.key(tenant, "narrow", allowed_models='["smart", "gpt-4o*", "nobody-left"]')[1]
    world.pg.execute("UPDATE providers_provider SET is_enabled = false WHERE name = 'anthropic'")
    gateway.wait_for_config(world.version())
    ids = [model.id for model in openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret).models.list()]
    assert "smart" in ids
    assert "nobody-left" not in ids
    assert all(name == "smart" or name.startswith("gpt-4o") for name in ids)
    assert len(ids) == len(set(ids)) > 2


def test_without_postgresql_it_starts_from_the_snapshot_on_disk(
    tmp_path: Path,
    world: World,
    secret: str,
    providers: dict[str, int],
    simulator: Running,
    database_url: str,
    valkey_url: str,
) -> None:
    with running(tmp_path, database_url, valkey_url) as gateway:
        gateway.wait_for_config(world.version())
        gateway.wait_until(gateway.wiring.snapshot.exists, "the snapshot on disk")
    with running(tmp_path, NOBODY, valkey_url) as gateway:
        gateway.wait_for_config(0)
        response = httpx.post(f"{gateway.url}{CHAT}", json=GOOD, headers={"x-api-key": secret})
    assert response.status_code == 200


def test_the_snapshot_on_disk_is_sealed_and_its_owners_alone(gateway: Gateway) -> None:
    gateway.wait_until(gateway.wiring.snapshot.exists, "the snapshot on disk")
    content = gateway.wiring.snapshot.read_bytes()
    assert b"acme" not in content
    assert gateway.wiring.snapshot.stat().st_mode & 0o077 == 0


def test_without_any_configuration_it_is_alive_and_not_ready(
    tmp_path: Path, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "UNCONFIGURED_SECONDS", 0.0)
    with running(tmp_path, NOBODY, valkey_url) as gateway:
        ready = httpx.get(f"{gateway.url}/readyz")
        call = httpx.post(f"{gateway.url}{CHAT}", json=GOOD, headers={"x-api-key": "x"})
    assert (ready.status_code, call.status_code) == (503, 503)


def test_it_answers_nobody_before_it_has_its_configuration(
    tmp_path: Path, world: World, database_url: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was killed is there again before it has read who may call: calls wait in the socket for a moment."""
    read, may_read = SnapshotKeeper._poll, threading.Event()

    def reads_late(keeper: SnapshotKeeper, conn: Any) -> bool:
        may_read.wait(5)
        return read(keeper, conn)

    monkeypatch.setattr(SnapshotKeeper, "_poll", reads_late)
    threading.Timer(0.2, may_read.set).start()
    with running(tmp_path, database_url, valkey_url) as gateway:
        assert gateway.plane is not None
        assert gateway.plane.snapshot is not None


def test_without_valkey_calls_without_a_blocking_budget_go_on(
    tmp_path: Path, world: World, tenant: int, secret: str, providers: dict[str, int], database_url: str
) -> None:
    world.budget(tenant, action="alert")
    with running(tmp_path, database_url, "redis://127.0.0.1:1/0") as gateway:
        gateway.wait_for_config(world.version())
        response = httpx.post(f"{gateway.url}{CHAT}", json=GOOD, headers={"x-api-key": secret})
    assert response.status_code == 200


def test_without_valkey_a_blocking_budget_is_unavailable(
    tmp_path: Path, world: World, tenant: int, secret: str, providers: dict[str, int], database_url: str
) -> None:
    world.budget(tenant)
    with running(tmp_path, database_url, "redis://127.0.0.1:1/0") as gateway:
        gateway.wait_for_config(world.version())
        response = httpx.post(f"{gateway.url}{CHAT}", json=GOOD, headers={"x-api-key": secret})
    assert (response.status_code, response.headers["x-llmobs-reason"]) == (503, "budget_unavailable")


def test_a_lost_connection_to_valkey_is_made_anew_and_holds_go_on(
    budget: int, gateway: Gateway, http: httpx.Client, world: World
) -> None:
    assert http.post(CHAT, json=GOOD).status_code == 200
    world.valkey.client_kill_filter(_type="normal", skipme=True)
    gateway.wait_until(lambda: http.post(CHAT, json=GOOD).status_code == 200, "served again")
    gateway.wait_until(lambda: world.ledger()["held"] == 0, "nothing is held")


def test_a_tenant_that_keeps_no_content_has_none_in_the_journal(
    gateway: Gateway, world: World, http: httpx.Client
) -> None:
    world.pg.execute("UPDATE tenants_tenant SET content = 'none'")
    gateway.wait_for_config(world.version())
    http.post(CHAT, json=GOOD)
    assert (gateway.end().request_body, gateway.end().response_body) == (b"", b"")


def test_a_full_journal_says_when_to_come_again(
    http: httpx.Client, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gateway.plane is not None
    monkeypatch.setattr(gateway.plane.recorder.journal, "_most_bytes", 0)
    monkeypatch.setattr(gateway.plane.recorder.journal, "_bound", 0)
    monkeypatch.setattr(gateway.plane.recorder.journal, "_reports_bound", 0)
    response = http.post(TRACES, content=spans(time.time_ns()).SerializeToString(), headers=PROTOBUF)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert gateway.otlp() == []
