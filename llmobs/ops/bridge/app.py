"""A local endpoint in OpenAI's format for providers that speak neither format, on any-llm's SDK: an ASGI application.

1. `POST /v1/chat/completions` and `/v1/embeddings`; the model is `PROVIDER/MODEL` as any-llm names providers.
2. The credential that the gateway sends is passed on to the provider; without one the SDK looks into its own
   environment. Nothing is kept.
3. The SDK's errors keep their status and code, so that the gateway retries, falls back and tells as with any provider.

It runs in an environment of its own (requirements-bridge.txt): standard library and SDK alone. The gateway's process
never holds an SDK.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

log = logging.getLogger(__name__)

MOST_BODY_BYTES = 32 * 1024 * 1024

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Sdk(Protocol):
    """What is used of any-llm. Answers are pydantic models; a stream is an asynchronous iterator of them."""

    async def acompletion(self, *, model: str, provider: str, api_key: str | None, **fields: Any) -> Any: ...
    async def aembedding(self, *, model: str, provider: str, api_key: str | None, **fields: Any) -> Any: ...


class BadRequest(Exception):
    """The body cannot be passed on; the message says why."""


class ClientGone(Exception):
    """Whoever asked has left: nothing more is asked of the provider."""


@dataclass
class Bridge:
    """The application. `default_provider`: of models that name none."""

    sdk: Sdk
    default_provider: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        asked = {"/v1/chat/completions": self._chat, "/v1/embeddings": self._embeddings}.get(scope["path"])
        if scope["path"] == "/healthz":
            await _whole(send, 200, b"alive\n", [(b"content-type", b"text/plain")])
        elif asked is None or scope["method"] != "POST":
            await _refuse(send, 404, "there are /v1/chat/completions, /v1/embeddings and /healthz", "not_found")
        else:
            await self._answer(asked, _credential(scope["headers"]), receive, send)

    async def _answer(
        self,
        asked: Callable[[dict[str, Any], str | None], Awaitable[Any]],
        credential: str | None,
        receive: Receive,
        send: Send,
    ) -> None:
        try:
            body = await _body(receive)
            gone = asyncio.ensure_future(_gone(receive))
            try:
                answer = await _unless(gone, asked(body, credential))
                if body.get("stream"):
                    await _stream(send, answer, gone)
                else:
                    await _whole(send, 200, _json(answer), _JSON)
            finally:
                gone.cancel()
        except BadRequest as error:
            await _refuse(send, 400, str(error), "invalid_request_error")
        except ClientGone:
            return
        except Exception as error:  # a request's edge: whatever the SDK raises has a status, or is a failure of its own
            await _failed(send, error)

    async def _chat(self, body: dict[str, Any], credential: str | None) -> Any:
        provider, model = self._model(body)
        fields = {name: value for name, value in body.items() if name != "model"}
        return await self.sdk.acompletion(model=model, provider=provider, api_key=credential, **fields)

    async def _embeddings(self, body: dict[str, Any], credential: str | None) -> Any:
        provider, model = self._model(body)
        body.pop("stream", None)  # there is none of vectors
        fields = {name: value for name, value in body.items() if name not in ("model", "input")}
        return await self.sdk.aembedding(
            model=model, provider=provider, api_key=credential, inputs=body.get("input"), **fields
        )

    def _model(self, body: dict[str, Any]) -> tuple[str, str]:
        name = body.get("model")
        if not isinstance(name, str) or not name:
            raise BadRequest("model is missing")
        provider, _, model = name.partition("/")
        if model:
            return provider, model
        if not self.default_provider:
            raise BadRequest(f"the model {name[:100]!r} names no provider: PROVIDER/MODEL")
        return self.default_provider, name


_JSON: Headers = [(b"content-type", b"application/json")]


async def _body(receive: Receive) -> dict[str, Any]:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BODY_BYTES:
            raise BadRequest(f"the body is longer than {MOST_BODY_BYTES >> 20} MB")
        more = message.get("more_body", False)
    try:
        body = json.loads(b"".join(parts))
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise BadRequest("the body is no JSON object")
    reserved = {"api_key", "api_base", "provider", "client_args"} & set(body)
    if reserved:  # the SDK's own switches: who calls must not choose where a credential goes
        raise BadRequest(f"{', '.join(sorted(reserved))} cannot be set by a request")
    return body


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _unless(gone: "asyncio.Future[None]", work: Awaitable[Any]) -> Any:
    """The work's result. Raises ClientGone, and ends the work, where the client leaves before."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        task.cancel()


async def _stream(send: Send, chunks: AsyncIterator[Any], gone: "asyncio.Future[None]") -> None:
    """Events as they come. An error before the first is an answer of its own, after it the last event."""
    has_begun = False
    try:
        async for chunk in _each(chunks, gone):
            if not has_begun:
                await send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
                has_begun = True
            await _event(send, _json(chunk))
    except ClientGone:
        raise
    except Exception as error:  # the SDK's: told in the stream, which has no status left
        if not has_begun:
            raise
        status, text, code = _told(error)
        log.warning("a stream broke: %s (%d)", code, status)
        await _event(send, json.dumps(_error(text, code)).encode())
        await send({"type": "http.response.body", "body": b""})
        return
    if not has_begun:
        await send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
    await _event(send, b"[DONE]")
    await send({"type": "http.response.body", "body": b""})


_EVENTS: Headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]


async def _each(chunks: AsyncIterator[Any], gone: "asyncio.Future[None]") -> AsyncIterator[Any]:
    while True:
        try:
            chunk = await _unless(gone, anext(chunks))
        except StopAsyncIteration:
            return
        yield chunk


async def _event(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": b"data: " + data + b"\n\n", "more_body": True})


def _json(answer: Any) -> bytes:
    return str(answer.model_dump_json(exclude_unset=True)).encode()


async def _failed(send: Send, error: Exception) -> None:
    status, text, code = _told(error)
    log.warning("a call failed: %s (%d)", code, status)  # the text may quote the prompt
    again = getattr(error, "retry_after", None)
    await _refuse(send, status, text, code, [(b"retry-after", str(again).encode("ascii", "replace"))] if again else [])


def _told(error: Exception) -> tuple[int, str, str]:
    """Status, message and code as OpenAI's format tells them; what has no status is the bridge's or the network's."""
    status = getattr(error, "status_code", None)
    if not isinstance(status, int) or not 400 <= status <= 599:
        status = 502
    code = getattr(error, "code", None) or getattr(error, "error_type", None) or type(error).__name__
    return status, str(getattr(error, "message", "") or error)[:2000], str(code)[:100]


async def _refuse(send: Send, status: int, message: str, code: str, headers: Headers | None = None) -> None:
    await _whole(send, status, json.dumps(_error(message, code)).encode(), [*_JSON, *(headers or [])])


def _error(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": code, "code": code}}


async def _whole(send: Send, status: int, body: bytes, headers: Headers) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


def _credential(headers: Headers) -> str | None:
    """The bearer's secret; None: the SDK's environment has it."""
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].decode("latin-1").strip() or None
    return None
