"""A provider's error in the caller's format: its status where the formats differ, its kind, its message."""

from gateway.dialects.dialect import text
from gateway.dialects.wire import Json

# Anthropic's type: OpenAI's type and code.
_TO_OPENAI: dict[str, tuple[str, str | None]] = {
    "invalid_request_error": ("invalid_request_error", None),
    "authentication_error": ("invalid_request_error", "invalid_api_key"),
    "permission_error": ("permission_error", "permission_denied"),
    "not_found_error": ("invalid_request_error", "model_not_found"),
    "request_too_large": ("invalid_request_error", "request_too_large"),
    "rate_limit_error": ("rate_limit_error", "rate_limit_exceeded"),
    "billing_error": ("insufficient_quota", "insufficient_quota"),
    "timeout_error": ("server_error", "timeout"),
    "overloaded_error": ("server_error", "overloaded"),
}
_TO_ANTHROPIC = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
# In either format the other's status means nothing to its SDK.
_OPENAI_STATUS = {529: 503, 402: 429}
_ANTHROPIC_STATUS = {503: 529}
_TOO_LONG = ("prompt is too long", "context window", "context_length", "context length")


def error_to_openai(status: int, body: Json | None) -> tuple[int, Json]:
    """Anthropic's error as OpenAI's."""
    error = _error(body)
    kind = text(error.get("type"), 100)
    message = _message(error, status)
    fallback = ("invalid_request_error" if status < 500 else "server_error", None)
    openai_type, code = _TO_OPENAI.get(kind, fallback)
    if kind == "invalid_request_error" and any(words in message.lower() for words in _TOO_LONG):
        code = "context_length_exceeded"
    found = {"message": message, "type": openai_type, "param": None, "code": code}
    return _OPENAI_STATUS.get(status, status), {"error": found}


def error_to_anthropic(status: int, body: Json | None) -> tuple[int, Json]:
    """OpenAI's error as Anthropic's."""
    error = _error(body)
    is_quota = "insufficient_quota" in (error.get("code"), error.get("type"))
    status = 402 if status == 429 and is_quota else _ANTHROPIC_STATUS.get(status, status)
    kind = _TO_ANTHROPIC.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return status, {"type": "error", "error": {"type": kind, "message": _message(error, status)}}


def _error(body: Json | None) -> Json:
    error = (body or {}).get("error")
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def _message(error: Json, status: int) -> str:
    message = error.get("message")
    return message if isinstance(message, str) and message else f"the provider answered with status {status}"
