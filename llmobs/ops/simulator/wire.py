"""What the two dialects put on the wire: whole answers, streams, errors. Shapes as the providers send them."""

import time
from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from llmobs.ops.simulator.answer import Answer
from llmobs.ops.simulator.asked import Asked, read_anthropic, read_openai

# Bytes to send and the words among them.
Chunk = tuple[bytes, int]

_encode = msgspec.json.Encoder().encode


class Wire(Protocol):
    """A dialect: reads its requests and writes its answers."""

    provider: str  # whose prices the bill takes
    id_prefix: str
    request_id_header: str

    def read(self, body: bytes) -> Asked: ...

    def whole(self, answer: Answer) -> bytes: ...

    def stream(self, answer: Answer, asked: Asked) -> Iterator[Chunk]: ...

    def error(self, status: int, message: str, request_id: str) -> bytes: ...


class OpenAIWire:
    provider = "openai"
    id_prefix = "chatcmpl-"
    request_id_header = "x-request-id"

    # By status: type and code, as the API answers them.
    ERRORS = {
        400: ("invalid_request_error", None),
        401: ("invalid_request_error", "invalid_api_key"),
        403: ("invalid_request_error", "unsupported_country_region_territory"),
        404: ("invalid_request_error", "model_not_found"),
        413: ("invalid_request_error", "request_too_large"),
        429: ("requests", "rate_limit_exceeded"),
        500: ("server_error", None),
        503: ("server_error", None),
    }

    def read(self, body: bytes) -> Asked:
        return read_openai(body)

    def whole(self, answer: Answer) -> bytes:
        choices: list[dict[str, Any]] = [
            {
                "index": index,
                "message": {
                    "role": "assistant",
                    "content": "".join(text for text, _ in chunks),
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
            for index, chunks in enumerate(answer.choices)
        ]
        return _encode(self._head(answer, "chat.completion") | {"choices": choices, "usage": self._usage(answer)})

    def stream(self, answer: Answer, asked: Asked) -> Iterator[Chunk]:
        head = self._head(answer, "chat.completion.chunk")
        tail = {"usage": None} if asked.wants_usage else {}

        def event(index: int, delta: dict[str, Any], finish_reason: str | None) -> bytes:
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
            return b"data: " + _encode(head | {"choices": [choice]} | tail) + b"\n\n"

        for index, chunks in enumerate(answer.choices):
            yield event(index, {"role": "assistant", "content": "", "refusal": None}, None), 0
            for text, tokens in chunks:
                yield event(index, {"content": text}, None), tokens
            yield event(index, {}, "stop"), 0
        if asked.wants_usage:
            usage = head | {"choices": [], "usage": self._usage(answer)}
            yield b"data: " + _encode(usage) + b"\n\n", 0
        yield b"data: [DONE]\n\n", 0

    def error(self, status: int, message: str, request_id: str) -> bytes:
        kind, code = self.ERRORS.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
        return _encode({"error": {"message": message, "type": kind, "param": None, "code": code}})

    def _head(self, answer: Answer, kind: str) -> dict[str, Any]:
        return {
            "id": answer.response_id,
            "object": kind,
            "created": int(time.time()),
            "model": answer.model,
            "service_tier": "default",
            "system_fingerprint": "fp_simulator",
        }

    def _usage(self, answer: Answer) -> dict[str, Any]:
        output_tokens = answer.output_tokens
        return {
            "prompt_tokens": answer.input_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": answer.input_tokens + output_tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


class AnthropicWire:
    provider = "anthropic"
    id_prefix = "msg_"
    request_id_header = "request-id"

    ERRORS = {
        400: "invalid_request_error",
        401: "authentication_error",
        402: "billing_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        500: "api_error",
        504: "timeout_error",
        529: "overloaded_error",
    }

    def read(self, body: bytes) -> Asked:
        return read_anthropic(body)

    def whole(self, answer: Answer) -> bytes:
        content = [{"type": "text", "text": "".join(text for text, _ in answer.choices[0])}]
        return _encode(self._message(answer, content, "end_turn", answer.output_tokens))

    def stream(self, answer: Answer, asked: Asked) -> Iterator[Chunk]:
        start = self._message(answer, [], None, 1)  # the API, too, begins with a small number that is not the sum
        yield _event("message_start", {"message": start}), 0
        yield _event("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}), 0
        yield _event("ping", {}), 0
        for text, tokens in answer.choices[0]:
            yield _event("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}}), tokens
        yield _event("content_block_stop", {"index": 0}), 0
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        usage = {
            "input_tokens": answer.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": answer.output_tokens,
        }
        yield _event("message_delta", {"delta": delta, "usage": usage}), 0
        yield _event("message_stop", {}), 0

    def error(self, status: int, message: str, request_id: str) -> bytes:
        kind = self.ERRORS.get(status, "api_error" if status >= 500 else "invalid_request_error")
        return _encode({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id})

    def _message(self, answer: Answer, content: list[Any], stop_reason: str | None, output: int) -> dict[str, Any]:
        return {
            "id": answer.response_id,
            "type": "message",
            "role": "assistant",
            "model": answer.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": {
                "input_tokens": answer.input_tokens,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                "output_tokens": output,
                "service_tier": "standard",
            },
        }


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + _encode({"type": name} | data) + b"\n\n"
