"""What providers say, whole and in events, and the official SDKs over a transport that brings it to them."""

import json
from typing import Any

import anthropic
import httpx2 as httpx
import openai

from gateway.dialects.dialect import Asked
from gateway.dialects.openai import OpenAI
from gateway.dialects.translation import ChatToMessages, MessagesToChat, StreamTranslation

TO_OPENAI, TO_ANTHROPIC = ChatToMessages(clock=lambda: 1_700_000_000.5), MessagesToChat()
HI: list[Any] = [{"role": "user", "content": "hi"}]
CLAUDE, GPT = "claude-sonnet-4-5", "gpt-4o"
CLAUDES_USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 90,
    "cache_creation_input_tokens": 20,
    "output_tokens": 7,
    "output_tokens_details": {"thinking_tokens": 3},
    "service_tier": "standard",
}
OPENAIS_USAGE = {
    "prompt_tokens": 120,
    "completion_tokens": 7,
    "total_tokens": 127,
    "prompt_tokens_details": {"cached_tokens": 90, "cache_write_tokens": 20},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
THOUGHT = {"type": "thinking", "thinking": "hm, well", "signature": "c2ln"}
HIDDEN = {"type": "redacted_thinking", "data": "eHg="}
USES: list[dict[str, Any]] = [
    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"n": 1}},
    {"type": "tool_use", "id": "toolu_2", "name": "stop", "input": {}},
]


def asked(wants_usage: bool = True) -> Asked:
    body = {"model": "m", "messages": HI, "stream": True, "stream_options": {"include_usage": wants_usage}}
    return OpenAI().read(json.dumps(body).encode())


# ---------------------------------------------------------------- Anthropic's


def message(*content: object, **fields: object) -> bytes:
    told = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": CLAUDE,
        "content": list(content),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": CLAUDES_USAGE,
        **fields,
    }
    return json.dumps(told).encode()


def event(name: str, **fields: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()


def begun() -> bytes:
    usage = {**CLAUDES_USAGE, "output_tokens": 1}
    return event("message_start", message=json.loads(message(stop_reason=None, usage=usage))) + event("ping")


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    said = b"".join(event("content_block_delta", index=index, delta=delta) for delta in deltas)
    first = event("content_block_start", index=index, content_block=start)
    return first + said + event("content_block_stop", index=index)


def text_block(index: int, *words: str) -> bytes:
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": word} for word in words))


def ended(reason: str = "end_turn", **fields: object) -> bytes:
    delta = {"stop_reason": reason, "stop_sequence": None, **fields}
    return event("message_delta", delta=delta, usage={"output_tokens": 7}) + event("message_stop")


# ---------------------------------------------------------------- OpenAI's


def completion(message: dict[str, Any], reason: str = "stop", usage: object = OPENAIS_USAGE) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": reason}
    told = {"id": "c1", "object": "chat.completion", "created": 1, "model": GPT, "choices": [choice], "usage": usage}
    return json.dumps(told).encode()


def chunk(delta: dict[str, Any] | None, reason: str | None = None, usage: object = None) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": GPT}
    return b"data: " + json.dumps({**head, "choices": choices, "usage": usage}).encode() + b"\n\n"


def call(call_id: str | None, name: str | None, arguments: str, **fields: object) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}, **fields}


LAST = chunk(None, usage=OPENAIS_USAGE) + b"data: [DONE]\n\n"


# ---------------------------------------------------------------- what the SDKs make of it


def through(stream: StreamTranslation, *blocks: bytes) -> bytes:
    return b"".join(stream.feed(block) for block in blocks) + stream.end()


def openai_client(body: bytes, status: int = 200, kind: str = "application/json") -> openai.OpenAI:
    answer = httpx.Response(status, content=body, headers={"content-type": kind})
    client = httpx.Client(transport=httpx.MockTransport(lambda request: answer))
    return openai.OpenAI(api_key="k", base_url="http://x.test/v1", http_client=client, max_retries=0)


def anthropic_client(body: bytes, status: int = 200, kind: str = "application/json") -> anthropic.Anthropic:
    answer = httpx.Response(status, content=body, headers={"content-type": kind})
    client = httpx.Client(transport=httpx.MockTransport(lambda request: answer))
    return anthropic.Anthropic(api_key="k", base_url="http://x.test", http_client=client, max_retries=0)


def read_by_openai(body: bytes) -> Any:
    """What the SDK's stream helper makes of a stream."""
    with openai_client(body, kind="text/event-stream").chat.completions.stream(model="m", messages=HI) as stream:
        for _ in stream:
            pass
        return stream.get_final_completion()


def read_by_anthropic(body: bytes) -> anthropic.types.Message:
    """What the SDK's stream helper makes of a stream."""
    client = anthropic_client(body, kind="text/event-stream")
    with client.messages.stream(model=CLAUDE, max_tokens=9, messages=HI) as stream:
        return stream.get_final_message()


def seen_by_openai(*blocks: bytes) -> Any:
    """Anthropic's events, translated and read by OpenAI's SDK."""
    return read_by_openai(through(TO_OPENAI.stream(asked()), *blocks))


def seen_by_anthropic(*blocks: bytes) -> anthropic.types.Message:
    """OpenAI's chunks, translated and read by Anthropic's SDK."""
    return read_by_anthropic(through(TO_ANTHROPIC.stream(asked()), *blocks))
