"""The gateway's addresses."""

import time
from collections.abc import Awaitable, Callable

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gateway import pipeline
from gateway.call import Call
from gateway.collector import Collector
from gateway.dialects.anthropic import Anthropic
from gateway.dialects.count_tokens import CountTokens
from gateway.dialects.dialect import Dialect
from gateway.dialects.embeddings import Embeddings
from gateway.dialects.openai import OpenAI
from gateway.dialects.responses import Responses
from gateway.door import Door
from gateway.errors import ANTHROPIC, OPENAI, GatewayError, error_response
from gateway.models import models
from gateway.plane import Plane
from llmobs.core.env import read_str

Handler = Callable[[Door, int], Awaitable[None]]
_TEXT = b"text/plain; version=0.0.4; charset=utf-8"


class App:
    """Routes requests to the pipeline, the collector and the small addresses."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        trusted = read_str("FORWARDED_ALLOW_IPS", "127.0.0.1")  # uvicorn's own variable and default
        self._behind_proxy = ProxyHeadersMiddleware(_nothing, trusted_hosts=trusted)
        self.proxies = self._behind_proxy.trusted_hosts  # whose word on a caller's address counts
        collector = Collector(plane)

        async def metrics(door: Door, now_ns: int) -> None:
            await collector.drop("metrics", door, now_ns)

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
            "/v1/logs": collector.logs,
            "/v1/metrics": metrics,
            "/api/public/otel/v1/logs": collector.logs,
            "/api/public/otel/v1/metrics": metrics,
        }
        self._gets: dict[str, Handler] = {
            "/v1/models": self._models,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
        }

    async def __call__(self, door: Door) -> None:
        if b"x-forwarded-for" in door.headers:
            await self._see_through(door)
        path, method = door.path, door.method
        dialect = self._calls.get(path)
        if dialect is not None and method == "POST":
            call = Call(dialect, door.headers, door, time.time_ns(), time.monotonic_ns())
            await pipeline.run(call, self._plane)
            return
        handler = (self._posts if method == "POST" else self._gets).get(path)
        if handler is not None and method in ("POST", "GET", "HEAD"):
            await handler(door, time.time_ns())
        else:
            self._nowhere(door)

    async def _see_through(self, door: Door) -> None:
        """The caller's own address, as a proxy that is trusted says it (`FORWARDED_ALLOW_IPS`)."""
        scope = {"type": "http", "scheme": "http", "client": (door.ip, 0), "headers": list(door.headers.items())}
        await self._behind_proxy(scope, _nothing, _nothing)  # type: ignore[arg-type]
        door.ip = str(scope["client"][0])

    def _nowhere(self, door: Door) -> None:
        path = door.path
        is_known = path in self._calls or path in self._posts or path in self._gets
        reason = "method_not_allowed" if is_known else "not_found"
        dialect = ANTHROPIC if path.startswith("/v1/messages") or b"anthropic-version" in door.headers else OPENAI
        door.answer(*error_response(reason, f"nothing is answered at {path[:200]!r} by that", dialect))

    async def _models(self, door: Door, now_ns: int) -> None:
        dialect = ANTHROPIC if b"anthropic-version" in door.headers else OPENAI
        try:
            body = models(door.headers, self._plane, now_ns)
        except GatewayError as error:
            door.answer(*error_response(error.reason, error.message, dialect))
            return
        _answer(door, 200, b"application/json", body)

    async def _healthz(self, door: Door, now_ns: int) -> None:
        _answer(door, 200, b"text/plain", b"alive\n")

    async def _readyz(self, door: Door, now_ns: int) -> None:
        plane = self._plane
        missing = [] if plane.snapshot is not None else ["no snapshot of the configuration"]
        missing += [] if plane.recorder.takes_calls else ["the journal takes nothing"]
        missing += [plane.canary.problem] if plane.canary.problem else []
        text = ("not ready: " + "; ".join(missing) if missing else "ready") + "\n"
        _answer(door, 503 if missing else 200, b"text/plain", text.encode())

    async def _metrics(self, door: Door, now_ns: int) -> None:
        _answer(door, 200, _TEXT, self._plane.counts.text())


def _answer(door: Door, status: int, kind: bytes, body: bytes) -> None:
    door.answer(status, [(b"content-type", kind), (b"content-length", b"%d" % len(body))], body)


async def _nothing(*_: object) -> None:
    """What is not asked of an application that only tells an address."""
