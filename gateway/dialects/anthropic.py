"""Anthropic's messages as a client's wire format."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from gateway.dialects.dialect import (
    FILE_TOKENS,
    IMAGE_TOKENS,
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

Count = Annotated[int, msgspec.Meta(ge=0)]


class _Request(msgspec.Struct):
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_MODEL_CHARACTERS)]
    messages: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)]
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=MOST_OUTPUT_TOKENS)]
    stream: bool | None = None
    metadata: dict[str, Any] | None = None


class _CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class _Usage(msgspec.Struct):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_creation: _CacheCreation | None = None


class _Error(msgspec.Struct):
    type: str | None = None


class _Answer(msgspec.Struct):
    """A whole answer (`type` message or error), also what `message_start` carries."""

    type: str | None = None
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None
    error: _Error | None = None


class _Delta(msgspec.Struct):
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    """Any event, as far as it tells of the answer as a whole."""

    type: str | None = None
    message: _Answer | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: _Error | None = None


_read = msgspec.json.Decoder(_Request).decode
_read_answer = msgspec.json.Decoder(_Answer).decode
_read_event = msgspec.json.Decoder(_Event).decode
_read_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_WRONG = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_TELLING = (b'"message_start"', b'"message_delta"', b'"error"')
_STOP = b"event: message_stop"
_DELTA_TEXTS = ("text", "thinking", "partial_json", "signature")


class Anthropic:
    """Anthropic's dialect."""

    name = "anthropic"
    operation_path = b"/v1/messages"

    def read(self, body: bytes) -> Asked:
        try:
            request = _read(body)
        except _WRONG as error:
            raise BadRequest(str(error)) from None
        marked = b'"cache_control"' in body
        asked = Asked(
            model=text(request.model),
            is_stream=request.stream or False,
            most_output_tokens=request.max_tokens,
            choices=1,
            unseen_input_tokens=_unseen_tokens(body),
            cache_write=("1h" if b'"1h"' in body else "5m") if marked else "",
            thinks=b'"thinking"' in body,
            wants_usage=True,  # this format always reports it
        )
        if request.metadata:
            asked.user = text(request.metadata.get("user_id"))
            asked.feature = text(request.metadata.get("feature"))
            asked.environment = text(request.metadata.get("environment"))
            asked.session = text(request.metadata.get("session"))
        return asked

    def for_upstream(self, body: bytes, model: str, asked: Asked) -> bytes:
        if model == asked.model:
            return body
        fields = _read_fields(body)
        fields["model"] = msgspec.Raw(msgspec.json.encode(model))
        return msgspec.json.encode(fields)

    def credential_headers(self, credential: str) -> bytes:
        return b"x-api-key: %s\r\n" % credential.encode() if credential else b""

    def answered(self, body: bytes) -> Answered | None:
        try:
            answer = _read_answer(body)
        except _WRONG:
            return None
        if answer.type == "error" or answer.error is not None:
            return Answered(error_type=_error_type(answer.error))
        if answer.type != "message":
            return None
        return Answered(
            usage=_usage([answer.usage]),
            response_id=text(answer.id),
            response_model=text(answer.model),
            finish_reasons=(text(answer.stop_reason, 64),) if answer.stop_reason else (),
        )

    def streamed(self, blocks: Sequence[bytes]) -> Answered:
        found = Answered()
        usages: list[_Usage | None] = []
        is_final = False
        for data in events(b"".join(blocks)):
            event = _event(data)
            if event is None:
                continue
            if event.message is not None:
                found.response_id, found.response_model = text(event.message.id), text(event.message.model)
                usages.append(event.message.usage)
            if event.type == "message_delta":
                usages.append(event.usage)
                is_final = True
                if event.delta is not None and event.delta.stop_reason:
                    found.finish_reasons = (text(event.delta.stop_reason, 64),)
            if event.type == "error":
                found.error_type = _error_type(event.error)
        # The output count at the beginning is a placeholder: without a message_delta the usage is not known.
        found.usage = _usage(usages) if is_final else None
        return found

    def is_last(self, block: bytes) -> bool:
        # A line break cannot stand within a JSON text: a line that begins so is the event itself.
        return block.startswith(_STOP) or b"\n" + _STOP in block

    def without_usage(self, block: bytes) -> bytes:
        return block

    def shown_bytes(self, events_text: bytes) -> int:
        return sum(_delta_bytes(data) for data in events(events_text))


def _unseen_tokens(body: bytes) -> int:
    """Names are counted wherever they stand: a text that quotes them makes the bound higher, never lower."""
    tokens = TOOLS_TOKENS if b'"tools"' in body else 0
    if b'"image"' in body:
        tokens += IMAGE_TOKENS * body.count(b'"image"')
    if b'"document"' in body or b'"file_id"' in body:
        tokens += FILE_TOKENS * max(body.count(b'"document"'), body.count(b'"file_id"'))
    return tokens


def _event(data: bytes) -> _Event | None:
    if not any(name in data for name in _TELLING):
        return None
    try:
        return _read_event(data)
    except _WRONG:
        return None


def _usage(usages: Sequence[_Usage | None]) -> Usage | None:
    """Anthropic's input excludes cached tokens. Later numbers are of the whole answer so far, and replace earlier."""
    known = [usage for usage in usages if usage is not None]
    output = _last([usage.output_tokens for usage in known])
    if output is None:
        return None
    created = _last([usage.cache_creation_input_tokens for usage in known]) or 0
    parts = next((usage.cache_creation for usage in reversed(known) if usage.cache_creation), None)
    one_hour = min((parts.ephemeral_1h_input_tokens or 0) if parts else 0, created)
    return Usage(
        uncached_input=_last([usage.input_tokens for usage in known]) or 0,
        cache_read=_last([usage.cache_read_input_tokens for usage in known]) or 0,
        cache_write_5m=created - one_hour,
        cache_write_1h=one_hour,
        output=output,
    )


def _last(numbers: list[int | None]) -> int | None:
    return next((number for number in reversed(numbers) if number is not None), None)


def _error_type(error: _Error | None) -> str:
    return (text(error.type, 100) if error is not None else "") or "provider_error"


def _delta_bytes(data: bytes) -> int:
    if not data.startswith(b"{"):
        return 0
    try:
        event = msgspec.json.decode(data)
    except _WRONG:
        return len(data)  # cut in the middle: the whole of it is the bound
    delta = event.get("delta")
    if not isinstance(delta, dict):
        return 0
    return sum(len(str(delta[name]).encode("utf-8", "replace")) for name in _DELTA_TEXTS if name in delta)
