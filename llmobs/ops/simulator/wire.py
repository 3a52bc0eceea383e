"""What every format must do: read its requests, write its answers, its streams and its errors as its provider does."""

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from llmobs.ops.simulator.answer import Answer
from llmobs.ops.simulator.asked import Asked

# Bytes to send and the words among them.
Chunk = tuple[bytes, int]

encode = msgspec.json.Encoder().encode


class Wire(Protocol):
    """A format: reads its requests and writes its answers."""

    provider: str  # whose prices the bill takes
    id_prefix: str
    call_id_prefix: str
    request_id_header: str
    is_billed: bool

    def read(self, body: bytes) -> Asked:
        """Raises AskedError."""
        ...

    def whole(self, answer: Answer, asked: Asked) -> bytes: ...

    def stream(self, answer: Answer, asked: Asked) -> Iterator[Chunk]: ...

    def error(self, status: int, message: str, request_id: str) -> bytes: ...


class OpenAIErrors:
    """What OpenAI's addresses have in common."""

    provider = "openai"
    call_id_prefix = "call_"
    request_id_header = "x-request-id"
    is_billed = True

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

    def error(self, status: int, message: str, request_id: str) -> bytes:
        kind, code = self.ERRORS.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
        return encode({"error": {"message": message, "type": kind, "param": None, "code": code}})


class AnthropicErrors:
    """What Anthropic's addresses have in common."""

    provider = "anthropic"
    call_id_prefix = "toolu_"
    request_id_header = "request-id"
    is_billed = True

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

    def error(self, status: int, message: str, request_id: str) -> bytes:
        kind = self.ERRORS.get(status, "api_error" if status >= 500 else "invalid_request_error")
        return encode({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id})


def named_event(name: str, data: dict[str, Any]) -> bytes:
    """A server-sent event whose data repeats its name as `type`."""
    return b"event: " + name.encode() + b"\ndata: " + encode({"type": name} | data) + b"\n\n"
