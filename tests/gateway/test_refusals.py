"""What is refused: each bad input has its reason, status and body in the caller's own format, and loses nothing."""

import time
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

from llmobs.ops.simulator.running import Running
from llmobs.tenants.keys import mint_internal
from tests.gateway.running import PLATFORM_SECRET, Gateway
from tests.gateway.world import World

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
GOOD: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "one two"}], "max_tokens": 5}


def error_of(response: httpx.Response) -> tuple[int, str, str]:
    """Status, reason header, and the error's code (OpenAI) or type (Anthropic)."""
    body = response.json()
    code = body["error"]["type"] if body.get("type") == "error" else body["error"]["code"]
    return response.status_code, response.headers["x-llmobs-reason"], code


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (CHAT, (401, "invalid_key", "invalid_api_key")),
        (MESSAGES, (401, "invalid_key", "authentication_error")),
    ],
)
def test_an_unknown_key_is_refused(gateway: Gateway, path: str, expected: tuple[int, str, str]) -> None:
    response = httpx.post(f"{gateway.url}{path}", json=GOOD, headers={"x-api-key": "llmobs-nobody"})
    assert error_of(response) == expected
    assert gateway.entries() == []


def test_the_sdks_raise_their_own_errors(gateway: Gateway) -> None:
    ours = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="wrong", max_retries=0)
    theirs = anthropic.Anthropic(base_url=gateway.url, api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        ours.chat.completions.create(**GOOD)
    with pytest.raises(anthropic.AuthenticationError):
        theirs.messages.create(**GOOD)


def test_an_expired_key_is_refused(gateway: Gateway, world: World, tenant: int) -> None:
    _, secret = world.key(tenant, "old", expires_at="2020-01-01T00:00:00Z")
    gateway.wait_for_config(world.version())
    response = httpx.post(f"{gateway.url}{CHAT}", json=GOOD, headers={"x-api-key": secret})
    assert error_of(response) == (401, "invalid_key", "invalid_api_key")


def test_an_operators_key_calls_no_model(gateway: Gateway, world: World) -> None:
    _, secret = world.key(None, "operator")
    gateway.wait_for_config(world.version())
    response = httpx.post(f"{gateway.url}{CHAT}", json=GOOD, headers={"x-api-key": secret})
    assert error_of(response) == (401, "invalid_key", "invalid_api_key")


def test_our_own_worker_calls_as_a_key_whose_secret_nobody_keeps(gateway: Gateway, world: World, tenant: int) -> None:
    key_id, _ = world.key(tenant, "judges")
    gateway.wait_for_config(world.version())
    token = mint_internal(key_id, PLATFORM_SECRET, time.time_ns())
    response = httpx.post(f"{gateway.url}{CHAT}", json=GOOD, headers={"authorization": f"Bearer {token}"})
    assert response.status_code == 200
    assert gateway.begins()[0].attribution.key_id == key_id


def test_an_internal_token_of_another_platform_is_refused(gateway: Gateway, world: World, tenant: int) -> None:
    key_id, _ = world.key(tenant, "judges")
    gateway.wait_for_config(world.version())
    token = mint_internal(key_id, "another platform", time.time_ns())
    response = httpx.post(f"{gateway.url}{CHAT}", json=GOOD, headers={"authorization": f"Bearer {token}"})
    assert error_of(response) == (401, "invalid_key", "invalid_api_key")


NO_REQUESTS = {
    b"": "JSON object",
    b"not json": "JSON object",
    b'{"model": "gpt-4o-mini", ': "truncated",
    b'{"model": "gpt-4o-mini", "max_tokens": 5}': "messages",
    b'{"model": "gpt-4o-mini", "messages": [], "max_tokens": 5}': "messages",
    b'{"model": "gpt-4o-mini", "messages": [{}], "max_tokens": -1}': "max_tokens",
    b'{"model": "gpt-4o-mini", "messages": [{}], "max_tokens": 1000000000000}': "max_tokens",
    b'{"model": "gpt-4o-mini", "messages": [{}], "max_tokens": "5"}': "max_tokens",
    b'{"model": 5, "messages": [{}], "max_tokens": 5}': "model",
    b'{"model": "", "messages": [{}], "max_tokens": 5}': "model",
    b'{"model": "gpt-4o-mini", "messages": "hello", "max_tokens": 5}': "messages",
    b'{"model": "gpt-4o-mini", "messages": ' + b"[" * 100_000: "recursion",
}


@pytest.mark.parametrize(("path", "code"), [(CHAT, "invalid_request"), (MESSAGES, "invalid_request_error")])
def test_a_body_that_is_no_request_is_refused_and_says_why(http: httpx.Client, path: str, code: str) -> None:
    for body, says in NO_REQUESTS.items():
        response = http.post(path, content=body, headers={"content-type": "application/json"})
        assert error_of(response) == (400, "invalid_request", code), body[:100]
        assert says in response.json()["error"]["message"]


@pytest.mark.parametrize(("path", "code"), [(CHAT, "request_too_large"), (MESSAGES, "request_too_large")])
def test_a_body_of_50_mb_is_refused(http: httpx.Client, path: str, code: str) -> None:
    assert error_of(http.post(path, content=b"x" * 50_000_000)) == (413, "too_large", code)


def test_a_chunked_body_of_50_mb_is_refused(http: httpx.Client) -> None:
    chunks = (b"x" * 1_000_000 for _ in range(50))
    assert error_of(http.post(CHAT, content=chunks)) == (413, "too_large", "request_too_large")


@pytest.mark.parametrize(("path", "code"), [(CHAT, "model_not_found"), (MESSAGES, "not_found_error")])
def test_a_model_that_nobody_serves_is_unknown(http: httpx.Client, gateway: Gateway, path: str, code: str) -> None:
    response = http.post(path, json={**GOOD, "model": "no-such-model"})
    assert error_of(response) == (404, "unknown_model", code)
    assert [refused.reason for refused in gateway.refusals()] == ["unknown_model"]


def test_an_operation_that_the_models_provider_has_not_is_refused_and_says_so(http: httpx.Client) -> None:
    response = http.post("/v1/embeddings", json={"model": "claude-sonnet-4-5", "input": "x"})
    assert error_of(response) == (400, "invalid_request", "invalid_request")
    assert "anthropic" in response.json()["error"]["message"]


def test_a_key_uses_the_models_it_is_allowed(gateway: Gateway, world: World, tenant: int) -> None:
    _, secret = world.key(tenant, "narrow", allowed_models='["gpt-4o*"]')
    gateway.wait_for_config(world.version())
    headers = {"x-api-key": secret}
    allowed = httpx.post(f"{gateway.url}{CHAT}", json=GOOD, headers=headers)
    refused = httpx.post(f"{gateway.url}{CHAT}", json={**GOOD, "model": "gpt-4.1"}, headers=headers)
    assert allowed.status_code == 200
    assert error_of(refused) == (403, "model_not_allowed", "model_not_allowed")


def test_a_route_sends_to_its_candidate_under_its_name_there(
    gateway: Gateway, http: httpx.Client, world: World, providers: dict[str, int], simulator: Running
) -> None:
    world.route("smart", (providers["openai"], "gpt-4o-mini"))
    gateway.wait_for_config(world.version())
    response = http.post(CHAT, json={**GOOD, "model": "smart"})
    assert response.json()["model"] == "gpt-4o-mini"
    begin = gateway.begins()[0]
    assert (begin.request_model, begin.model) == ("smart", "gpt-4o-mini")


def test_a_timeout_that_is_no_number_is_refused(http: httpx.Client) -> None:
    response = http.post(CHAT, json=GOOD, headers={"x-llmobs-timeout": "soon"})
    assert error_of(response) == (400, "invalid_request", "invalid_request")


def test_an_address_that_is_not_there_is_not_found(http: httpx.Client) -> None:
    assert error_of(http.post("/v1/completions", json=GOOD)) == (404, "not_found", "not_found")
    assert error_of(http.get(CHAT)) == (405, "method_not_allowed", "method_not_allowed")
