"""OTLP log records that carry what was asked and answered, brought to the form that spans' messages have.

Some libraries keep content off the span and send it as events of the `gen_ai` conventions to /v1/logs, with the span's
ids. 1. `check_logs`: how many records of a request are such (the gateway loads this: no adapter of spans here).
2. `decode_logs`: what each of them says, as messages. Records without text (content is off) say nothing.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-events/
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from llmobs.ingest.entries import OtlpLogs
from llmobs.ingest.otlp import json_form, messages
from llmobs.ingest.otlp.wire import JSON, OtlpError, media_type
from llmobs.ingest.otlp.wire import _attributes as protobuf_attributes
from llmobs.ingest.otlp.wire import _integer as integer
from llmobs.ingest.otlp.wire import _json_attributes as json_attributes
from llmobs.ingest.otlp.wire import _one as protobuf_value
from llmobs.ingest.otlp.wire import _unhex as unhex

DETAILS = "gen_ai.client.inference.operation.details"
CHOICE = "gen_ai.choice"
# One message each: the role is the event's, unless its body says another.
_ROLES = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
# Events of before them: the text as an attribute.
_TEXTS = {
    "gen_ai.content.prompt": (True, "gen_ai.prompt"),
    "gen_ai.content.completion": (False, "gen_ai.completion"),
}
CONTENT_EVENTS = frozenset({DETAILS, CHOICE, *_ROLES, *_TEXTS})
_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)


class _Record(msgspec.Struct, rename="camel"):
    trace_id: str = ""
    span_id: str = ""
    event_name: str = ""
    time_unix_nano: int | str = 0
    observed_time_unix_nano: int | str = 0
    attributes: list[json_form.KeyValue] | None = None
    body: json_form.AnyValue | None = None


class _ScopeLogs(msgspec.Struct, rename="camel"):
    log_records: list[_Record] | None = None


class _ResourceLogs(msgspec.Struct, rename="camel"):
    scope_logs: list[_ScopeLogs] | None = None


class _LogsRequest(msgspec.Struct, rename="camel"):
    resource_logs: list[_ResourceLogs] | None = None


_json_decoder = msgspec.json.Decoder(_LogsRequest)


@dataclass(frozen=True, slots=True)
class CheckedLogs:
    """How many records a request has, how many of them carry content, and the answer to send."""

    record_count: int
    content_count: int
    content_type: str
    response: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """A record that carries content, as it was sent."""

    trace_id: bytes
    span_id: bytes
    name: str
    at_ns: int  # 0: it does not say
    attributes: dict[str, Any]
    body: Any


@dataclass(frozen=True, slots=True)
class Said:
    """What one record adds to one side of its span: a JSON text of messages.

    `is_whole`: it is all of that side, not the next message of it. `mark`: the same for the same record, sent again.
    """

    trace_id: bytes
    span_id: bytes
    mark: bytes
    at_ns: int
    place: int  # in its request, where times are equal
    is_input: bool
    is_whole: bool
    messages: str


def check_logs(body: bytes, content_type: str) -> CheckedLogs:
    """Parse a decompressed logs request and count. Raises OtlpError (UnknownContentType: 415, else 400)."""
    kind = media_type(content_type)
    is_content = [_is_content(name, trace_id, span_id) for name, trace_id, span_id, _ in _records(body, kind)]
    return CheckedLogs(len(is_content), sum(is_content), kind, b"{}" if kind == JSON else b"")


def decode_logs(entry: OtlpLogs) -> list[Said]:
    """What the content records of a checked request say, in their order. Raises OtlpError if it does not parse."""
    said: list[Said] = []
    copies: dict[bytes, int] = {}
    for name, trace_id, span_id, record in _records(entry.body, entry.content_type):
        if not _is_content(name, trace_id, span_id):
            continue
        event = _event(name, trace_id, span_id, record)
        at_ns = event.at_ns if 0 < event.at_ns < 2**63 else entry.received_ns
        for is_input, is_whole, text in _sides(event):
            mark = _mark(event, is_input, at_ns)
            copies[mark] = copy = copies.get(mark, -1) + 1  # several at one moment are several
            marked = sha256(mark + copy.to_bytes(4, "big")).digest()[:16]
            said.append(Said(trace_id, span_id, marked, at_ns, len(said), is_input, is_whole, text))
    return said


def _is_content(name: str, trace_id: bytes, span_id: bytes) -> bool:
    if name not in CONTENT_EVENTS or len(trace_id) != 16 or len(span_id) != 8:
        return False
    return trace_id != _NO_TRACE and span_id != _NO_SPAN


def _mark(event: Event, is_input: bool, at_ns: int) -> bytes:
    """Not of the text: a tenant may keep that as a fingerprint under a key alone."""
    return event.trace_id + event.span_id + f"{event.name} {at_ns} {is_input} ".encode()


# ---------------------------------------------------------------- records, of either form

_Named = tuple[str, bytes, bytes, Any]  # event's name, trace id, span id, the record


def _records(body: bytes, kind: str) -> Iterator[_Named]:
    if kind == JSON:
        yield from _json_records(body)
        return
    try:
        request = ExportLogsServiceRequest.FromString(body)
    except DecodeError:
        raise OtlpError("the body is not a protobuf ExportLogsServiceRequest") from None
    for resource in request.resource_logs:
        for scope in resource.scope_logs:
            for record in scope.log_records:
                yield record.event_name or _named_in(record), record.trace_id, record.span_id, record


def _json_records(body: bytes) -> Iterator[_Named]:
    try:
        request = _json_decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise OtlpError(f"the body is not an OTLP/JSON logs request: {error}") from None
    for resource in request.resource_logs or ():
        for scope in resource.scope_logs or ():
            for record in scope.log_records or ():
                name = record.event_name or str(json_attributes(record.attributes).get("event.name") or "")
                yield name, unhex(record.trace_id), unhex(record.span_id), record


def _named_in(record: Any) -> str:
    """The attribute in which an event's name stood before it had a field."""
    return next((pair.value.string_value for pair in record.attributes if pair.key == "event.name"), "")


def _event(name: str, trace_id: bytes, span_id: bytes, record: Any) -> Event:
    at_ns = integer(record.time_unix_nano) or integer(record.observed_time_unix_nano)
    if not isinstance(record, _Record):
        body = protobuf_value(record.body) if record.HasField("body") else None
        return Event(trace_id, span_id, name, at_ns, protobuf_attributes(record.attributes), body)
    try:
        body = record.body.plain() if record.body is not None else None
    except ValueError:
        body = None
    return Event(trace_id, span_id, name, at_ns, json_attributes(record.attributes), body)


# ---------------------------------------------------------------- what they say


def _sides(event: Event) -> Iterator[tuple[bool, bool, str]]:
    """(is it the input, is it all of it, messages)"""
    if event.name == DETAILS:
        found = {**event.attributes, **(event.body if isinstance(event.body, dict) else {})}
        given, system = found.get("gen_ai.input.messages"), found.get("gen_ai.system_instructions")
        yield from _told(True, True, messages.official(_text(given), _text(system), "user"))
        yield from _told(False, True, messages.official(_text(found.get("gen_ai.output.messages")), None, "assistant"))
    elif event.name in _TEXTS:
        is_input, attribute = _TEXTS[event.name]
        value = event.attributes.get(attribute, event.body)
        yield from _told(is_input, False, messages.normal(value, "user" if is_input else "assistant"))
    elif event.name == CHOICE:
        yield from _told(False, False, _one_message(_choice(event.body), "assistant"))
    else:
        yield from _told(True, False, _one_message(event.body, _ROLES[event.name]))


def _told(is_input: bool, is_whole: bool, text: str | None) -> Iterator[tuple[bool, bool, str]]:
    if text is not None:
        yield is_input, is_whole, text


def _text(value: Any) -> Any:
    """Lists are read as the JSON texts that spans carry are."""
    return msgspec.json.encode(value).decode() if isinstance(value, list | dict) else value


def _choice(body: Any) -> Any:
    """`{"index", "finish_reason", "message"}`: the message, with how it ended."""
    if not isinstance(body, dict):
        return body
    inner = body.get("message")
    found = dict(inner) if isinstance(inner, dict) else {"content": inner or body.get("content")}
    tool_calls = found.get("tool_calls") or body.get("tool_calls")
    return {**found, "tool_calls": tool_calls, "finish_reason": body.get("finish_reason")}


def _one_message(body: Any, role: str) -> str | None:
    """A message, or None where content is off: a role alone says nothing."""
    if isinstance(body, str):
        return messages.of_text(body, role) if body else None
    if not isinstance(body, dict):
        return None
    plain = {"role": role, **{name: value for name, value in body.items() if value is not None}}
    if role == "tool" and "id" in plain:
        plain["tool_call_id"] = plain.pop("id")
        plain.setdefault("content", None)
    made = messages.message(plain, role)
    parts = [part for part in made["parts"] if part.get("response", "") is not None]
    return messages.encoded([{**made, "parts": parts}]) if parts else None
