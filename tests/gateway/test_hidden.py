"""Where a text could hide from the guards, a model from the key's list, and a credential in what comes back."""

import json
from typing import Any

import httpx2 as httpx
import pytest

from tests.gateway.far_end import answering, json_response
from tests.gateway.running import Gateway
from tests.gateway.test_guards import (
    ADDRESS,
    ANSWER,
    ATTACK,
    CHAT,
    EMBEDDINGS,
    RESPONSES,
    Guarded,
    ask,
    guarded,
    place,
)
from tests.gateway.world import World

__all__ = ["guarded"]


def nested(text: str, depth: int) -> Any:
    return json.loads("[" * depth + json.dumps(text) + "]" * depth)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "type": "image", "content": ATTACK},
        {"role": "user", "type": "item_reference", "content": ATTACK},
        {"role": "user", "type": "thinking", "content": ATTACK},
        {"role": "user", "content": [{"type": "reasoning", "text": ATTACK}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}, "text": ATTACK}]},
        {"role": "user", "content": "hi", "Content": ATTACK},
        {"role": "user", "content": [{"type": "text", "text": "hi", "TEXT": ATTACK}]},
        {"role": "user", "content": nested(ATTACK, 60)},
        {"role": "tool", "tool_call_id": "t", "content": nested(ATTACK, 60)},
        {"role": "user", "content": [{"type": "tool_result", "content": {"a": nested(ATTACK, 60)}}]},
    ],
)
def test_no_name_type_or_depth_hides_a_text(http: httpx.Client, guarded: Guarded, message: dict[str, Any]) -> None:
    guarded(injection="block")
    response = http.post(CHAT, json={**ask(""), "messages": [message]})
    assert (response.status_code, response.headers["x-llmobs-reason"]) == (400, "prompt_injection")


@pytest.mark.parametrize(
    "beside",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "description": f"Ask {ADDRESS}."}}]},
        {"functions": [{"name": "f", "description": f"Ask {ADDRESS}."}]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"title": ADDRESS}}}},
        {"documents": [{"text": ADDRESS}]},
    ],
)
def test_what_stands_beside_the_messages_is_masked(
    gateway: Gateway, http: httpx.Client, world: World, guarded: Guarded, beside: dict[str, Any]
) -> None:
    """S2-04. A number of a schema or a seed is nobody's telephone."""
    guarded(sensitive_input="mask")
    with answering(json_response(ANSWER)) as far:
        place(world, gateway, far)
        response = http.post(CHAT, json={**ask("hi"), **beside, "x": {"maximum": 13800138000}})
    assert response.status_code == 200
    sent = far.requests[0].decode()
    assert ADDRESS not in sent
    assert "[EMAIL_1]" in sent
    assert '"maximum":13800138000' in sent


def test_a_tools_schema_keeps_its_numbers(gateway: Gateway, http: httpx.Client, world: World, guarded: Guarded) -> None:
    guarded(sensitive_input="mask")
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"maximum": 13800138000}}}]
    with answering(json_response(ANSWER)) as far:
        place(world, gateway, far)
        assert http.post(CHAT, json={**ask("hi"), "tools": tools}).status_code == 200
    assert b'"maximum":13800138000' in far.requests[0]


def test_a_name_that_stands_twice_does_not_hide_length(
    gateway: Gateway, http: httpx.Client, world: World, guarded: Guarded
) -> None:
    guarded(most_input_characters=10)
    with answering(json_response(ANSWER)) as far:
        place(world, gateway, far)
        long, short = ({"role": "user", "content": text} for text in ("x" * 20, "hi"))
        body = '{"model":"gpt-4o-mini","max_tokens":5,"messages":[%s],"messages":[%s]}'
        assert http.post(CHAT, content=body % (json.dumps(long), json.dumps(short))).status_code == 200
    assert b"xxx" not in far.requests[0]


@pytest.mark.parametrize(
    ("path", "beside"),
    [
        (CHAT, {"Model": "gpt-4o"}),
        (CHAT, {"MAX_TOKENS": 100_000}),
        (CHAT, {"N": 100}),
        (CHAT, {"me\u017fsages": [{"role": "user", "content": "hi"}]}),
        (CHAT, {"max_to\u212aens": 100_000}),
        (RESPONSES, {"Max_Output_Tokens": 100_000}),
        (EMBEDDINGS, {"INPUT": ["another"]}),
    ],
)
def test_what_admission_reads_is_not_said_in_other_letters_too(
    gateway: Gateway, http: httpx.Client, path: str, beside: dict[str, Any]
) -> None:
    """Providers in some languages read names in any letters: the key's models and the budget's bound would not hold."""
    body = ask("hi") if path == CHAT else {"model": "gpt-4o-mini", "input": "hi"}
    response = http.post(path, json={**body, **beside})
    assert (response.status_code, response.headers["x-llmobs-reason"]) == (400, "invalid_request")
    assert "in other letters" in response.json()["error"]["message"]
    assert not gateway.begins()
    assert http.post(path, json={**body, "X-Own": 1, "größe": 2}).status_code == 200


def test_a_models_name_ends_nowhere_but_at_its_end(http: httpx.Client) -> None:
    response = http.post(CHAT, json={**ask("hi"), "model": "gpt-4o\x00-mini"})
    assert (response.status_code, response.headers["x-llmobs-reason"]) == (400, "invalid_request")


@pytest.mark.parametrize("status", [400, 401, 429, 500])
@pytest.mark.parametrize("is_stream", [False, True])
def test_our_credential_does_not_come_back_in_an_error(
    gateway: Gateway, http: httpx.Client, world: World, monkeypatch: pytest.MonkeyPatch, status: int, is_stream: bool
) -> None:
    """S0-02: some providers repeat the key that they refuse."""
    ours = "sk-of-the-installation-1234567890"
    monkeypatch.setenv("HIDDEN_TEST_KEY", ours)
    error = {"error": {"message": f"Incorrect API key provided: {ours}", "type": "x", "code": "invalid_api_key"}}
    said = json.dumps(error).encode()
    head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(said))
    world.pg.execute("UPDATE providers_provider SET credential = 'env:HIDDEN_TEST_KEY'")
    with answering(head + said) as far:
        place(world, gateway, far)
        response = http.post(CHAT, json=ask("hi", stream=is_stream))
    assert ours.encode() in far.requests[0]
    assert response.status_code >= 400
    assert ours not in response.text
    assert ours not in str(gateway.entries())
    assert "[our credential]" in str(gateway.end())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, b'{"model":"auto","max_tokens":5,"messages":[{"role":"user","content":5}]}'),
        (CHAT, b'{"model":"auto","max_tokens":5,"messages":[{"role":"user","content":"\xff"}]}'),
        (RESPONSES, b'{"model":"auto","input":5}'),
        (EMBEDDINGS, b'{"model":"auto","input":5}'),
    ],
)
def test_a_task_is_read_from_any_body_or_the_call_refused(
    gateway: Gateway, http: httpx.Client, path: str, body: bytes
) -> None:
    response = http.post(path, content=body)
    assert response.headers["x-llmobs-reason"] in ("invalid_request", "unknown_model"), response.text
