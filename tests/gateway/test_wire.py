"""The bytes on the provider's side: however odd they are, the caller's answer is right and no bill is too low."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx2 as httpx
import openai
import pytest

from tests.gateway.far_end import STREAM_HEAD, FarEnd, answering, json_response
from tests.gateway.running import Gateway
from tests.gateway.world import World

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
GOOD: dict[str, Any] = {"messages": [{"role": "user", "content": "one two"}], "max_tokens": 5000}
ASKED = {CHAT: {**GOOD, "model": "gpt-4o-mini"}, MESSAGES: {**GOOD, "model": "claude-sonnet-4-5"}}
ANSWER = (
    b'{"id":"r1","model":"gpt-4o-mini","choices":[{"finish_reason":"stop","message":{"content":"hello"}}],"usage":%s}'
)
USAGE = b'{"prompt_tokens":3,"completion_tokens":2}'

Place = Callable[..., AbstractContextManager[FarEnd]]


@pytest.fixture
def far(gateway: Gateway, world: World) -> Place:
    """Puts a far end in the place of both providers."""

    @contextmanager
    def place(*parts: bytes, hangs: bool = False) -> Iterator[FarEnd]:
        with answering(*parts, hangs=hangs) as far_end:
            world.pg.execute("UPDATE providers_provider SET base_url = %s", (far_end.url,))
            gateway.wait_for_config(world.version())
            yield far_end

    return place


def sse(*events: bytes, end: bytes = b"\n\n") -> bytes:
    return b"".join(event + end for event in events)


def chunk(text: bytes, rest: bytes = b"") -> bytes:
    return b'data: {"id":"r1","choices":[{"index":0,"delta":{"content":"%s"}}]%s}' % (text, rest)


STOP = b'data: {"id":"r1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
LAST_USAGE = b'data: {"id":"r1","choices":[],"usage":%s}' % USAGE
DONE = b"data: [DONE]"


# ---------------------------------------------------------------- one answer is one call's


def test_a_second_answer_to_one_request_never_reaches_another_call(far: Place, http: httpx.Client) -> None:
    first = json_response(ANSWER % USAGE)
    second = json_response((ANSWER % USAGE).replace(b"hello", b"not yours"))
    with far(first + second[:-30], hangs=True) as far_end:
        for _ in range(2):
            assert http.post(CHAT, json=ASKED[CHAT]).json()["choices"][0]["message"]["content"] == "hello"
        assert len(far_end.requests) == 2


# ---------------------------------------------------------------- usage


@pytest.mark.parametrize(
    "usage",
    [b'{"completion_tokens":2}', b'{"prompt_tokens":3.5,"completion_tokens":2}', b'"none"', b'{"prompt_tokens":-1}'],
)
def test_an_answer_whose_usage_cannot_be_is_passed_on_and_counted_conservatively(
    far: Place, http: httpx.Client, gateway: Gateway, usage: bytes
) -> None:
    with far(json_response(ANSWER % usage)):
        response = http.post(CHAT, json=ASKED[CHAT])
    assert (response.status_code, response.json()["id"]) == (200, "r1")
    end, found = gateway.end(), gateway.usage()
    assert (end.status, end.is_estimated) == ("ok", True)
    assert found.uncached_input >= len(response.request.content)
    assert found.output >= len("hello")


def test_whole_numbers_written_as_fractions_are_usage(far: Place, http: httpx.Client, gateway: Gateway) -> None:
    with far(json_response(ANSWER % b'{"prompt_tokens":3.0,"completion_tokens":2.0}')):
        assert http.post(CHAT, json=ASKED[CHAT]).status_code == 200
    assert (gateway.usage().uncached_input, gateway.usage().output) == (3, 2)


def test_the_input_of_a_long_stream_is_billed_also_when_its_first_block_is_a_ping(
    far: Place, http: httpx.Client, gateway: Gateway
) -> None:
    start = (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"m1","model":"claude-sonnet-4-5",'
        b'"usage":{"input_tokens":4321,"output_tokens":1}}}\n\n'
    )
    delta = b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}'
    end = b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":90}}'
    stop = b'event: message_stop\ndata: {"type":"message_stop"}'
    parts = [b": ping\n\n", start, *[sse(delta) for _ in range(90)], sse(end, stop)]
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in parts]
    head = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n")
    with far(head, *chunks, b"0\r\n\r\n"):
        http.post(MESSAGES, json={**ASKED[MESSAGES], "stream": True})
    assert (gateway.usage().uncached_input, gateway.usage().output) == (4321, 90)


def test_the_usage_so_far_of_a_stream_that_breaks_is_not_its_bill(
    far: Place, http: httpx.Client, gateway: Gateway
) -> None:
    so_far = b',"usage":{"prompt_tokens":3,"completion_tokens":1}'
    head = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\ncontent-length: 100000\r\n\r\n")
    with far(head, sse(chunk(b"hello there", so_far))):
        http.post(CHAT, json={**ASKED[CHAT], "stream": True})
    assert gateway.end().is_estimated
    assert gateway.usage().output >= len("hello there")


def test_a_stream_without_usage_of_a_model_that_may_think_unseen_is_billed_at_its_ceiling_behind_a_route_too(
    far: Place, http: httpx.Client, gateway: Gateway, world: World, providers: dict[str, int]
) -> None:
    world.route("smart", (providers["openai"], "gpt-5"))
    with far(STREAM_HEAD, sse(chunk(b"hi"), STOP, DONE)):
        http.post(CHAT, json={**ASKED[CHAT], "model": "smart", "stream": True})
    assert gateway.usage().output == 5000


# ---------------------------------------------------------------- events


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_usage_that_was_not_asked_for_is_kept_back_whatever_ends_a_line(
    far: Place, gateway: Gateway, secret: str, end: bytes
) -> None:
    with far(STREAM_HEAD, sse(chunk(b"hel"), chunk(b"lo"), STOP, LAST_USAGE, DONE, end=end)):
        client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0)
        chunks = list(client.chat.completions.create(**ASKED[CHAT], stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "hello"
    assert gateway.usage().output == 2


def test_a_stream_that_ends_without_its_end_is_a_broken_one(far: Place, gateway: Gateway, secret: str) -> None:
    with far(STREAM_HEAD, sse(chunk(b"hel"))):
        client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0)
        with pytest.raises(openai.APIError, match="broke off"):
            list(client.chat.completions.create(**ASKED[CHAT], stream=True))
    assert (gateway.end().status, gateway.end().is_estimated) == ("cut_off", True)


def test_a_stream_of_nonsense_is_passed_on_and_billed(far: Place, http: httpx.Client, gateway: Gateway) -> None:
    odd = [b'data: {"choices":7}', b'data: {"choices":[7],"usage":7}', b"data: [1]", b"data:", b": comment", b"x"]
    with far(STREAM_HEAD, sse(*odd, DONE)):
        response = http.post(CHAT, json={**ASKED[CHAT], "stream": True})
    assert response.status_code == 200
    assert response.content.endswith(b"data: [DONE]\n\n")
    assert gateway.end().is_estimated


def test_what_follows_the_end_in_the_same_block_does_not_hide_it(
    far: Place, http: httpx.Client, gateway: Gateway
) -> None:
    with far(STREAM_HEAD, sse(chunk(b"hi"), STOP, LAST_USAGE, DONE, b": bye"), hangs=True):
        response = http.post(CHAT, json={**ASKED[CHAT], "stream": True}, timeout=5)
    assert b"[DONE]" in response.content
    assert gateway.usage().output == 2
