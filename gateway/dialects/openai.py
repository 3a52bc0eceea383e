"""OpenAI's chat completions as a client's wire format."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from gateway.dialects.dialect import (
    FILE_TOKENS,
    IMAGE_TOKENS,
    MOST_CHOICES,
    MOST_MODEL_CHARACTERS,
    MOST_OUTPUT_TOKENS,
    TOOLS_TOKENS,
    Answered,
    Asked,
    BadRequest,
    events,
    text,
)
from llmobs.pricing.usage import Usage

Tokens = Annotated[int, msgspec.Meta(ge=1, le=MOST_OUTPUT_TOKENS)]


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Request(msgspec.Struct):
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_MODEL_CHARACTERS)]
    messages: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)]
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=MOST_CHOICES)] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, Any] | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    completion_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_read = msgspec.json.Decoder(_Request).decode
_read_answer = msgspec.json.Decoder(_Answer).decode
_read_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_INCLUDE = b'"stream_options":{"include_usage":true},'
_HIDDEN_THINKING = re.compile(r"^(o\d|gpt-5|codex)")
_USAGE = re.compile(rb'"usage"\s*:\s*\{')


class OpenAI:
    """OpenAI's dialect."""

    name = "openai"
    operation_path = b"/chat/completions"

    def read(self, body: bytes) -> Asked:
        try:
            request = _read(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(str(error)) from None
        most = max(request.max_tokens or 0, request.max_completion_tokens or 0) or None
        options = request.stream_options
        asked = Asked(
            model=text(request.model),
            is_stream=request.stream or False,
            most_output_tokens=most,
            choices=request.n or 1,
            unseen_input_tokens=_unseen_tokens(body),
            cache_write="5m" if b'"cache_control"' in body else "",
            thinks=b'"reasoning' in body or _HIDDEN_THINKING.match(request.model) is not None,
            wants_usage=bool(options and options.include_usage),
            user=text(request.user or request.safety_identifier),
        )
        if request.metadata:
            _attribute(asked, request.metadata)
        return asked

    def for_upstream(self, body: bytes, model: str, asked: Asked) -> bytes:
        asks_usage = asked.is_stream and not asked.wants_usage
        if model == asked.model and not asks_usage:
            return body
        if model == asked.model and b'"stream_options"' not in body:
            start = body.index(b"{") + 1
            return body[:start] + _INCLUDE + body[start:]
        fields = _read_fields(body)
        fields["model"] = msgspec.Raw(msgspec.json.encode(model))
        if asks_usage:
            options = msgspec.json.decode(fields.get("stream_options", b"null")) or {}
            fields["stream_options"] = msgspec.Raw(msgspec.json.encode({**options, "include_usage": True}))
        return msgspec.json.encode(fields)

    def credential_headers(self, credential: str) -> bytes:
        return b"authorization: Bearer %s\r\n" % credential.encode() if credential else b""

    def answered(self, body: bytes) -> Answered | None:
        try:
            answer = _read_answer(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        if answer.error is not None:
            return Answered(error_type=_error_type(answer.error))
        if answer.choices is None:
            return None
        return _answered(answer)

    def streamed(self, blocks: Sequence[bytes]) -> Answered:
        found = Answered()
        reasons: list[str] = []
        for data in events(b"".join(blocks)):
            answer = _event(data)
            if answer is None:
                continue
            if answer.error is not None:
                found.error_type = _error_type(answer.error)
            found.response_id = text(answer.id) or found.response_id
            found.response_model = text(answer.model) or found.response_model
            reasons += [text(c.finish_reason, 64) for c in answer.choices or () if c.finish_reason]
            if answer.usage is not None and answer.usage.completion_tokens is not None:
                found.usage = _usage(answer.usage)
        found.finish_reasons = tuple(reasons[:MOST_CHOICES])
        return found

    def is_last(self, block: bytes) -> bool:
        return block.rstrip().endswith(b"[DONE]")

    def without_usage(self, block: bytes) -> bytes:
        if not _USAGE.search(block):
            return block
        kept = [event for event in block.split(b"\n\n") if not (_USAGE.search(event) and _is_usage_alone(event))]
        return b"\n\n".join(kept)

    def shown_bytes(self, events_text: bytes) -> int:
        return sum(_delta_bytes(data) for data in events(events_text))


def _attribute(asked: Asked, metadata: dict[str, Any]) -> None:
    asked.feature = text(metadata.get("feature"))
    asked.environment = text(metadata.get("environment"))
    asked.session = text(metadata.get("session"))
    asked.user = asked.user or text(metadata.get("user_id")) or text(metadata.get("user"))


def _unseen_tokens(body: bytes) -> int:
    """Names are counted wherever they stand: a text that quotes them makes the bound higher, never lower."""
    tokens = TOOLS_TOKENS if b'"tools"' in body or b'"functions"' in body else 0
    if b'"image_url"' in body:
        tokens += IMAGE_TOKENS * body.count(b'"image_url"')
    if b'"file"' in body:
        tokens += FILE_TOKENS * body.count(b'"file_id"') + IMAGE_TOKENS * body.count(b'"file_data"')
    return tokens


def _event(data: bytes) -> _Answer | None:
    if not data.startswith(b"{"):
        return None
    try:
        return _read_answer(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _answered(answer: _Answer) -> Answered:
    usage = answer.usage
    return Answered(
        usage=_usage(usage) if usage is not None and usage.completion_tokens is not None else None,
        response_id=text(answer.id),
        response_model=text(answer.model),
        finish_reasons=tuple(
            text(c.finish_reason, 64) for c in (answer.choices or ())[:MOST_CHOICES] if c.finish_reason
        ),
    )


def _usage(usage: _Usage) -> Usage:
    """OpenAI's input includes cached tokens, its output includes reasoning."""
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    details, out = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = min(max(details.cached_tokens or 0, 0), prompt) if details else 0
    reasoning = min(max(out.reasoning_tokens or 0, 0), completion) if out else 0
    return Usage(uncached_input=prompt - cached, cache_read=cached, output=completion, reasoning=reasoning)


def _error_type(error: Any) -> str:
    if isinstance(error, dict):
        return text(error.get("code"), 100) or text(error.get("type"), 100) or "provider_error"
    return "provider_error"


def _is_usage_alone(event: bytes) -> bool:
    """The extra chunk: usage, and no choice (Azure's chunks without choices carry no usage)."""
    parsed = [_event(data) for data in events(event)]
    return bool(parsed) and all(a is not None and a.usage is not None and not a.choices for a in parsed)


def _delta_bytes(data: bytes) -> int:
    if not data.startswith(b"{"):
        return 0
    try:
        event = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return len(data)  # cut in the middle: the whole of it is the bound
    return sum(text_bytes(choice.get("delta")) for choice in event.get("choices") or () if isinstance(choice, dict))


def text_bytes(value: object) -> int:
    """UTF-8 bytes of all texts within a JSON value."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    if isinstance(value, dict):
        return sum(text_bytes(inner) for inner in value.values())
    if isinstance(value, list):
        return sum(text_bytes(inner) for inner in value)
    return 0
