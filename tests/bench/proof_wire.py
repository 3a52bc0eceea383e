"""A light HTTP/1.1 client on asyncio, for hundreds of streams at once, and the calls of the proof as bytes."""

import asyncio
import json
from dataclasses import dataclass
from random import Random

from tests.bench.proof_plan import KEYS, TENANTS, secret_of

WORDS = ("parcel", "order", "refund", "invoice", "address", "account", "question", "policy", "return", "support")
# What the provider does, in a prompt, with how often: errors that a retry mends, answers that break off half way.
FAULTS = {
    "chunk_ms={chunk}": 70,
    "slow_ms={slow}": 18,
    "first=1, status=500": 3,
    "first=1, drop": 2,
    "status=500": 2,
    "cut": 2,
    "half": 1,
    "first=1, garbage": 1,
    "slow_ms={slow}, status=429": 1,
}
USER_SECONDS, SESSION_SECONDS, FEATURE_SECONDS = 6.0, 5.0, 15.0  # so long are names in use, then new budgets begin
STREAMS_OF_USER, STREAMS_OF_SESSION, FEATURES = 20, 16, 4  # so many streams share the names of a time


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call to be made; `hangs_up_s` after its beginning the client leaves, if it is not None."""

    tenant: str
    is_openai: bool
    is_stream: bool
    request: bytes
    hangs_up_s: float | None


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: dict[str, str]
    body: bytes


def wanted(chance: Random, at_s: float, number: str, streams: int) -> Wanted:
    """The next call of a stream."""
    tenant = chance.choices(list(TENANTS), list(TENANTS.values()))[0]
    is_openai, is_stream = chance.random() < 0.6, chance.random() < 0.6
    model = "gpt-4o-mini" if is_openai else "claude-sonnet-4-5"
    if chance.random() < 0.25:
        model = "reliable"
    fault = chance.choices(list(FAULTS), list(FAULTS.values()))[0]
    fault = fault.format(chunk=chance.randint(20, 150), slow=chance.randint(100, 2500))
    words = " ".join(chance.choices(WORDS, k=chance.randint(5, 60)))
    body = {
        "model": model,
        "max_tokens": chance.randint(1, 300),
        "messages": [{"role": "user", "content": f"[[simulate {fault}]] {number} {words}"}],
        "stream": is_stream,
    }
    if is_openai and is_stream and chance.random() < 0.5:
        body["stream_options"] = {"include_usage": True}
    attribution = {
        "feature": f"feature-{int(at_s / FEATURE_SECONDS)}-{chance.randrange(FEATURES)}",
        "user": f"user-{int(at_s / USER_SECONDS)}-{chance.randrange(streams // STREAMS_OF_USER + 1)}",
        "session": f"session-{int(at_s / SESSION_SECONDS)}-{chance.randrange(streams // STREAMS_OF_SESSION + 1)}",
    }
    path = "/v1/chat/completions" if is_openai else "/v1/messages"
    hangs_up_s = chance.uniform(0.02, 1.5) if chance.random() < 0.08 else None
    request = request_bytes(path, secret_of(tenant, chance.choice(KEYS)), attribution, json.dumps(body).encode())
    return Wanted(tenant, is_openai, is_stream, request, hangs_up_s)


def request_bytes(path: str, secret: str, attribution: dict[str, str], body: bytes) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "host: gateway",
        f"authorization: Bearer {secret}",
        "anthropic-version: 2023-06-01",
    ]
    lines += [f"x-llmobs-{name}: {value}" for name, value in attribution.items()]
    lines += ["content-type: application/json", f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> Response:
    """Send a request and read its whole response. Raises OSError, EOFError where it breaks off."""
    writer.write(request)
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    if headers.get("transfer-encoding") == "chunked":
        body = await _chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Response(int(head[0].split(" ")[1]), headers, body)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    await reader.readuntil(b"\r\n")
    return b"".join(parts)


def answered_id(wanted: Wanted, response: Response) -> str:
    """The provider's response id, if the answer came to its end; else ""."""
    if response.status != 200:
        return ""
    if not wanted.is_stream:
        return str(json.loads(response.body).get("id", ""))
    events = [line[6:] for line in response.body.decode().splitlines() if line.startswith("data: {")]
    if b'"error"' in response.body or not events:
        return ""
    if wanted.is_openai:
        return str(json.loads(events[0])["id"]) if b"data: [DONE]" in response.body else ""
    return str(json.loads(events[0])["message"]["id"]) if b"event: message_stop" in response.body else ""
