"""The gateway's addresses: a raw ASGI application."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gateway import pipeline
from gateway.call import Answer, Call, Receive, Send
from gateway.collector import Collector
from gateway.dialects.anthropic import Anthropic
from gateway.dialects.count_tokens import CountTokens
from gateway.dialects.dialect import Dialect
from gateway.dialects.embeddings import Embeddings
from gateway.dialects.openai import OpenAI
from gateway.dialects.responses import Responses
from gateway.errors import ANTHROPIC, OPENAI, GatewayError, error_response
from gateway.models import models
from gateway.one_write import EXTENSION
from gateway.plane import Plane
from llmobs.core.env import read_str

Handler = Callable[[dict[bytes, bytes], Receive, Send, int], Awaitable[None]]
_TEXT = b"text/plain; version=0.0.4; charset=utf-8"


class App:
    """Routes requests to the pipeline, the collector and the small addresses."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        trusted = read_str("FORWARDED_ALLOW_IPS", "127.0.0.1")  # uvicorn's own variable and default
        self._behind_proxy = ProxyHeadersMiddleware(self._forwarded, trusted_hosts=trusted)  # type: ignore[arg-type]
        collector = Collector(plane)

        async def logs(headers: dict[bytes, bytes], receive: Receive, send: Send, now_ns: int) -> None:
            await collector.drop("logs", headers, receive, send, now_ns)

        async def metrics(headers: dict[bytes, bytes], receive: Receive, send: Send, now_ns: int) -> None:
            await collector.drop("metrics", headers, receive, send, now_ns)

        self._calls: dict[str, Dialect] = {
            "/v1/chat/completions": OpenAI(),
            "/v1/responses": Responses(),
            "/v1/embeddings": Embeddings(),
            "/v1/messages": Anthropic(),
            "/v1/messages/count_tokens": CountTokens(),
        }
        self._posts: dict[str, Handler] = {
            "/v1/traces": collector.traces,
            "/api/public/otel/v1/traces": collector.traces,
            "/v1/logs": logs,
            "/v1/metrics": metrics,
        }
        self._gets: dict[str, Handler] = {
            "/v1/models": self._models,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
        }

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        if b"x-forwarded-for" in headers:
            await self._behind_proxy(scope, receive, send)  # type: ignore[arg-type]
        else:
            await self._answer(scope, headers, receive, send)

    async def _forwarded(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """With the caller's own address, as a proxy that is trusted says it (`FORWARDED_ALLOW_IPS`)."""
        await self._answer(scope, dict(scope["headers"]), receive, send)

    async def _answer(self, scope: dict[str, Any], headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        now_ns = time.time_ns()
        dialect = self._calls.get(path)
        if dialect is not None and method == "POST":
            started = time.monotonic_ns()
            call = Call(dialect, headers, receive, send, now_ns, started, scope.get("client"))
            extensions = scope.get("extensions")
            if extensions:
                call.door = extensions.get(EXTENSION)
            await pipeline.run(call, self._plane)
            return
        handler = (self._posts if method == "POST" else self._gets).get(path)
        if handler is not None and method in ("POST", "GET", "HEAD"):
            await handler(headers, receive, send, now_ns)
        else:
            await self._nowhere(path, headers, send)

    async def _nowhere(self, path: str, headers: dict[bytes, bytes], send: Send) -> None:
        is_known = path in self._calls or path in self._posts or path in self._gets
        reason = "method_not_allowed" if is_known else "not_found"
        dialect = ANTHROPIC if path.startswith("/v1/messages") or b"anthropic-version" in headers else OPENAI
        await _send(send, Answer(*error_response(reason, f"nothing is answered at {path[:200]!r} by that", dialect)))

    async def _models(self, headers: dict[bytes, bytes], receive: Receive, send: Send, now_ns: int) -> None:
        dialect = ANTHROPIC if b"anthropic-version" in headers else OPENAI
        try:
            body = models(headers, self._plane, now_ns)
        except GatewayError as error:
            await _send(send, Answer(*error_response(error.reason, error.message, dialect)))
            return
        await _send(send, Answer(200, [(b"content-type", b"application/json")], body))

    async def _healthz(self, headers: dict[bytes, bytes], receive: Receive, send: Send, now_ns: int) -> None:
        await _send(send, Answer(200, [(b"content-type", b"text/plain")], b"alive\n"))

    async def _readyz(self, headers: dict[bytes, bytes], receive: Receive, send: Send, now_ns: int) -> None:
        plane = self._plane
        missing = [] if plane.snapshot is not None else ["no snapshot of the configuration"]
        missing += [] if plane.recorder.is_writable else ["the journal takes nothing"]
        text = ("not ready: " + "; ".join(missing) if missing else "ready") + "\n"
        await _send(send, Answer(503 if missing else 200, [(b"content-type", b"text/plain")], text.encode()))

    async def _metrics(self, headers: dict[bytes, bytes], receive: Receive, send: Send, now_ns: int) -> None:
        await _send(send, Answer(200, [(b"content-type", _TEXT)], self._plane.counts.text()))


async def _send(send: Send, answer: Answer) -> None:
    headers = [header for header in answer.headers if header[0] != b"content-length"]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
