"""What a provider may do wrong: each fault has its outcome, status and bill, and never a hung client."""

import gzip
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

from llmobs.ops.simulator.running import Running
from tests.gateway.far_end import STREAM_HEAD, FarEnd, answering, json_response
from tests.gateway.running import Gateway
from tests.gateway.test_refusals import error_of
from tests.gateway.world import World

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
MODELS = {CHAT: "gpt-4o-mini", MESSAGES: "claude-sonnet-4-5"}
GOOD_ANSWER = b'{"id":"r1","model":"gpt-4o-mini","choices":[{"finish_reason":"stop","message":{"content":"hello"}}]%s}'
USAGE = b',"usage":{"prompt_tokens":3,"completion_tokens":2}'


def request(path: str, directive: str = "", **fields: Any) -> dict[str, Any]:
    content = f"[[simulate {directive}]] one two" if directive else "one two"
    return {"model": MODELS[path], "messages": [{"role": "user", "content": content}], "max_tokens": 100, **fields}


@pytest.fixture
def far(gateway: Gateway, world: World) -> Any:
    """Puts a far end in OpenAI's place."""

    @contextmanager
    def place(*parts: bytes, hangs: bool = False) -> Iterator[FarEnd]:
        with answering(*parts, hangs=hangs) as far_end:
            world.pg.execute("UPDATE providers_provider SET base_url = %s WHERE name = 'openai'", (far_end.url,))
            gateway.wait_for_config(world.version())
            yield far_end

    return place


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_the_providers_own_error_is_passed_on_and_charges_nothing(
    http: httpx.Client, gateway: Gateway, path: str
) -> None:
    statuses = [400, 404, 422, 429, 500, 503, 529]
    for status in statuses:
        response = http.post(path, json=request(path, f"status={status}"))
        assert response.status_code == status
        assert response.headers["x-llmobs-reason"] == "provider_error"
        assert str(status) in response.json()["error"]["message"]
    ends = [(end.status, end.http_status, end.usage, end.cost_nanousd) for end in gateway.ends()]
    assert ends == [("failed", status, None, None) for status in statuses]


def test_a_stream_that_fails_before_its_beginning_is_an_error_with_its_status(http: httpx.Client) -> None:
    response = http.post(CHAT, json=request(CHAT, "status=429", stream=True))
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")


@pytest.mark.parametrize(
    ("directive", "path", "expected"),
    [
        ("drop", CHAT, (503, "provider_unavailable", "provider_unavailable")),
        ("drop", MESSAGES, (529, "provider_unavailable", "overloaded_error")),
        ("garbage", CHAT, (502, "provider_garbage", "provider_garbage")),
        ("garbage", MESSAGES, (502, "provider_garbage", "api_error")),
        ("slow_ms=5000", CHAT, (504, "provider_timeout", "provider_timeout")),
        ("slow_ms=5000", MESSAGES, (504, "provider_timeout", "timeout_error")),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_an_attempt_that_may_have_been_charged_keeps_its_hold_as_its_bill(
    http: httpx.Client, gateway: Gateway, directive: str, path: str, expected: tuple[int, str, str], is_stream: bool
) -> None:
    headers = {"x-llmobs-timeout": "0.2"}
    response = http.post(path, json=request(path, directive, stream=is_stream), headers=headers)
    assert error_of(response) == expected
    begin, end = gateway.begins()[0], gateway.end()
    assert (end.usage, end.cost_nanousd, end.is_estimated) == (begin.held_usage, begin.held_nanousd, True)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (CHAT, (503, "provider_unavailable", "provider_unavailable")),
        (MESSAGES, (529, "provider_unavailable", "overloaded_error")),
    ],
)
def test_a_dead_provider_is_unavailable_and_charges_nothing(
    http: httpx.Client, gateway: Gateway, world: World, path: str, expected: tuple[int, str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        dead = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    world.pg.execute("UPDATE providers_provider SET base_url = %s", (dead,))
    gateway.wait_for_config(world.version())
    assert error_of(http.post(path, json=request(path))) == expected
    assert (gateway.end().status, gateway.end().usage) == ("failed", None)


def test_a_provider_without_its_credential_is_unavailable_and_says_which(
    http: httpx.Client, gateway: Gateway, world: World
) -> None:
    world.pg.execute("UPDATE providers_provider SET credential = 'env:NO_SUCH_VARIABLE'")
    gateway.wait_for_config(world.version())
    response = http.post(CHAT, json=request(CHAT))
    assert response.status_code == 503
    message = response.json()["error"]["message"]
    assert message.startswith("provider openai cannot be called")
    assert "NO_SUCH_VARIABLE" not in message


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_stream_that_breaks_off_ends_with_an_error_and_is_billed_no_lower_than_the_provider_bills(
    gateway: Gateway, secret: str, simulator: Running, path: str
) -> None:
    body = request(path, "cut", stream=True)
    if path == CHAT:
        client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0)
        with pytest.raises(openai.APIError, match="broke off"):
            list(client.chat.completions.create(**body))
    else:
        other = anthropic.Anthropic(base_url=gateway.url, api_key=secret, max_retries=0)
        with pytest.raises(anthropic.APIStatusError, match="broke off"):
            list(other.messages.create(**body))
    end = gateway.end()
    billed = simulator.bill.as_dict(False)
    assert (end.status, end.is_estimated) == ("cut_off", True)
    assert gateway.usage().output >= int(billed["output_tokens"])
    assert gateway.usage().input_tokens >= int(billed["input_tokens"])


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_client_that_leaves_is_billed_exactly_as_the_provider_bills(
    http: httpx.Client, gateway: Gateway, simulator: Running, path: str
) -> None:
    with http.stream("POST", path, json=request(path, "chunk_ms=10", stream=True)) as response:
        next(response.iter_bytes())
    end = gateway.end()
    assert (end.status, gateway.usage().output, end.is_estimated) == ("cut_off", 100, False)
    assert simulator.bill.as_dict(False)["output_tokens"] == 100


def test_a_stream_settles_its_hold_when_the_client_leaves(
    budget: int, gateway: Gateway, http: httpx.Client, world: World
) -> None:
    with http.stream("POST", CHAT, json=request(CHAT, "chunk_ms=10", stream=True)) as response:
        next(response.iter_bytes())
        assert world.ledger()["held"] > 0
    gateway.wait_until(lambda: world.ledger()["held"] == 0, "nothing is held")
    assert world.ledger()["pending"] == gateway.end().cost_nanousd


def test_an_error_under_status_200_is_an_error(far: Any, http: httpx.Client, gateway: Gateway) -> None:
    with far(json_response(b'{"error":{"message":"no capacity","type":"overloaded","code":null}}')):
        response = http.post(CHAT, json=request(CHAT))
    assert (response.status_code, response.headers["x-llmobs-reason"]) == (502, "provider_error")
    assert response.json()["error"]["message"] == "no capacity"
    assert (gateway.end().status, gateway.end().usage) == ("failed", None)


def test_an_answer_without_usage_is_passed_on_and_counted_conservatively(
    far: Any, http: httpx.Client, gateway: Gateway
) -> None:
    with far(json_response(GOOD_ANSWER % b"")):
        response = http.post(CHAT, json=request(CHAT))
    assert response.json()["choices"][0]["message"]["content"] == "hello"
    end = gateway.end()
    assert (end.status, end.is_estimated) == ("ok", True)
    assert gateway.usage().output >= 1


def test_an_answer_that_comes_compressed_unasked_is_read_and_passed_on_in_plain(
    far: Any, http: httpx.Client, gateway: Gateway
) -> None:
    body = gzip.compress(GOOD_ANSWER % USAGE)
    with far(json_response(body, b"content-encoding: gzip\r\n")) as far_end:
        response = http.post(CHAT, json=request(CHAT))
    assert response.json()["id"] == "r1"
    assert gateway.usage().output == 2
    assert b"accept-encoding: identity" in far_end.requests[0]


def test_an_answer_cut_in_the_middle_is_unavailable(far: Any, http: httpx.Client, gateway: Gateway) -> None:
    with far(json_response(GOOD_ANSWER % USAGE)[:-10]):
        assert http.post(CHAT, json=request(CHAT)).status_code == 503
    assert gateway.end().is_estimated


def test_bytes_that_are_no_http_are_garbage(far: Any, http: httpx.Client) -> None:
    with far(b"220 mail.example.com ESMTP\r\n"):
        assert http.post(CHAT, json=request(CHAT)).status_code == 502


def test_a_stream_that_never_begins_times_out(far: Any, http: httpx.Client, gateway: Gateway) -> None:
    with far(STREAM_HEAD, hangs=True):
        response = http.post(CHAT, json=request(CHAT, stream=True), headers={"x-llmobs-timeout": "0.2"})
    assert error_of(response) == (504, "provider_timeout", "provider_timeout")
    assert (gateway.end().status, gateway.end().is_estimated) == ("timed_out", True)


def test_events_cut_anywhere_reach_the_client_whole(far: Any, gateway: Gateway, secret: str) -> None:
    events = (
        b'data: {"id":"r1","choices":[{"index":0,"delta":{"content":"hel"}}],"usage":null}\n\n'
        b'data: {"id":"r1","choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":"stop"}],"usage":null}\n\n'
        b'data: {"id":"r1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
        b"data: [DONE]\n\n"
    )
    with far(STREAM_HEAD, *[events[i : i + 7] for i in range(0, len(events), 7)]):
        client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0)
        chunks = list(client.chat.completions.create(**request(CHAT, stream=True)))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "hello"
    assert gateway.usage().output == 2


def test_the_body_goes_upstream_untouched_and_the_key_does_not(
    far: Any, http: httpx.Client, gateway: Gateway, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_CREDENTIAL", "provider-secret")
    world.pg.execute("UPDATE providers_provider SET credential = 'env:TEST_CREDENTIAL'")
    sent = b'{ "unknown":  [1, 2.50, {"a": null}], "model":"gpt-4o-mini", "messages":[{"role":"user","content":"hi"}] }'
    with far(json_response(GOOD_ANSWER % USAGE)) as far_end:
        http.post(CHAT, content=sent, headers={"cookie": "a=b", "x-llmobs-user": "u"})
    head, _, body = far_end.requests[0].partition(b"\r\n\r\n")
    assert body == sent
    assert b"authorization: Bearer provider-secret" in head
    assert b"llmobs" not in head
    assert b"cookie" not in head
