"""The bridge: providers that speak neither format, by an SDK's API, behind OpenAI's format; here the SDK is a fake."""

import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest
import uvicorn
from django.core.management import CommandError, call_command
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from llmobs.ops.bridge.app import Bridge

ROOT = Path(__file__).parents[2]
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
ASKED: list[Any] = [{"role": "user", "content": "hi"}]


class Refused(Exception):
    """As the SDK's errors look."""

    def __init__(self, message: str, status_code: int | None, code: str | None = None, retry_after: str = "") -> None:
        super().__init__(message)
        self.message, self.status_code, self.code, self.retry_after = message, status_code, code, retry_after


class FakeSdk:
    """Answers as any-llm does, with OpenAI's types; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self.breaks_after: int | None = None
        self.has_ended = threading.Event()

    async def acompletion(self, *, model: str, provider: str, api_key: str | None, **fields: Any) -> Any:
        self.asked.append({"model": model, "provider": provider, "api_key": api_key, **fields})
        if self.error is not None:
            raise self.error
        if fields.get("stream"):
            return self._chunks(model)
        message = {"role": "assistant", "content": "hello there"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        return ChatCompletion.model_validate(
            {
                "id": "r-1",
                "object": "chat.completion",
                "created": 1,
                "model": model,
                "choices": [choice],
                "usage": USAGE,
            }
        )

    async def _chunks(self, model: str) -> AsyncIterator[ChatCompletionChunk]:
        try:
            for number, text in enumerate(("hello", " there")):
                if self.breaks_after == number:
                    raise Refused("it broke", 500, "server_error")
                yield self._chunk(model, [{"index": 0, "delta": {"content": text}, "finish_reason": None}])
            yield self._chunk(model, [], usage=USAGE)
        finally:
            self.has_ended.set()

    def _chunk(self, model: str, choices: list[dict[str, Any]], **fields: Any) -> ChatCompletionChunk:
        head = {"id": "r-1", "object": "chat.completion.chunk", "created": 1, "model": model}
        return ChatCompletionChunk.model_validate({**head, "choices": choices, **fields})

    async def aembedding(self, *, model: str, provider: str, api_key: str | None, **fields: Any) -> Any:
        self.asked.append({"model": model, "provider": provider, "api_key": api_key, **fields})
        data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
        usage = {"prompt_tokens": 3, "total_tokens": 3}
        return CreateEmbeddingResponse.model_validate({"object": "list", "data": data, "model": model, "usage": usage})


@contextmanager
def serving(sdk: FakeSdk, default_provider: str = "") -> Iterator[str]:
    """The bridge on a loopback port."""
    server = uvicorn.Server(uvicorn.Config(Bridge(sdk, default_provider), log_config=None, lifespan="off"))
    door = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        door.close()


@pytest.fixture
def sdk() -> FakeSdk:
    return FakeSdk()


@pytest.fixture
def url(sdk: FakeSdk) -> Iterator[str]:
    with serving(sdk) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-gemini", max_retries=0) as client:
        yield client


def test_an_answer_comes_in_openais_format(client: openai.OpenAI, sdk: FakeSdk) -> None:
    """S1-06: a provider of a format of its own is one more provider."""
    answer = client.chat.completions.create(model="gemini/gemini-3-pro", messages=ASKED, max_tokens=5)

    assert answer.choices[0].message.content == "hello there"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 5
    [asked] = sdk.asked
    assert (asked["provider"], asked["model"], asked["api_key"]) == ("gemini", "gemini-3-pro", "sk-gemini")
    assert (asked["messages"], asked["max_tokens"]) == (ASKED, 5)


def test_a_stream_comes_event_by_event_with_its_usage(client: openai.OpenAI, sdk: FakeSdk) -> None:
    chunks = list(client.chat.completions.create(model="gemini/m", messages=ASKED, stream=True))

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "hello there"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 2


def test_vectors_come_in_openais_format(client: openai.OpenAI, sdk: FakeSdk) -> None:
    answer = client.embeddings.create(model="voyage/voyage-3", input="one two three", encoding_format="float")

    assert answer.data[0].embedding == [0.5, 0.25]
    assert sdk.asked[0]["inputs"] == "one two three"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Refused("too many", 429, "rate_limited", retry_after="7"), 429, "rate_limited"),
        (Refused("no such model", 404, "model_not_found"), 404, "model_not_found"),
        (Refused("unreadable", 200), 502, "Refused"),
        (OSError("no route to host"), 502, "OSError"),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_an_error_keeps_its_status_and_code(
    url: str, sdk: FakeSdk, error: Exception, status: int, code: str, is_stream: bool
) -> None:
    sdk.error = error
    body = {"model": "gemini/m", "messages": ASKED, "stream": is_stream}

    answer = httpx.post(f"{url}/v1/chat/completions", json=body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers.get("retry-after") == ("7" if status == 429 else None)


def test_a_stream_that_breaks_says_so_and_is_not_done(url: str, sdk: FakeSdk) -> None:
    sdk.breaks_after = 1

    text = httpx.post(f"{url}/v1/chat/completions", json={"model": "g/m", "messages": ASKED, "stream": True}).text

    assert "hello" in text
    assert '"code": "server_error"' in text
    assert "[DONE]" not in text


def test_a_stream_whose_reader_leaves_is_ended(url: str, sdk: FakeSdk) -> None:
    body = {"model": "g/m", "messages": ASKED, "stream": True}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
        next(response.iter_bytes())

    assert sdk.has_ended.wait(10)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"no json", "the body is no JSON object"),
        (b'{"messages": []}', "model is missing"),
        (b'{"model": "m"}', "names no provider"),
        (b'{"model": "g/m", "api_base": "http://elsewhere"}', "api_base cannot be set by a request"),
    ],
)
def test_what_cannot_be_passed_on_is_refused(url: str, sdk: FakeSdk, body: bytes, said: str) -> None:
    answer = httpx.post(f"{url}/v1/chat/completions", content=body)

    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]
    assert sdk.asked == []


def test_a_model_that_names_no_provider_goes_to_the_default(sdk: FakeSdk) -> None:
    with serving(sdk, "gemini") as url:
        httpx.post(f"{url}/v1/chat/completions", json={"model": "gemini-3-pro", "messages": ASKED}).raise_for_status()
        assert httpx.get(f"{url}/healthz").status_code == 200

    assert (sdk.asked[0]["provider"], sdk.asked[0]["api_key"]) == ("gemini", None)


def test_it_needs_nothing_of_ours_but_the_standard_library() -> None:
    """S1-09: no SDK in the gateway's process, and nothing of the platform in the SDK's."""
    code = "import sys, llmobs.ops.bridge.app; sys.exit(any(m in sys.modules for m in ('django', 'msgspec', 'openai')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_without_its_environment_it_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="make bridge"):
        call_command("bridge", "--python", str(tmp_path / "python"))


def test_without_the_sdk_it_says_what_is_missing() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "llmobs.ops.bridge", "--port", "1"], cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode == 1
    assert "any_llm is missing here: `make bridge`" in found.stderr
