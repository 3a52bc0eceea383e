"""What is left in a span's attributes once it has been read: kept, but bounded, and without messages or vectors.

Content belongs into input and output, where the tenant's content policy meets it. Attributes that carry content and
that no adapter took are moved there, or dropped where messages were found already (they repeat them).
"""

from collections.abc import Sequence
from functools import lru_cache
from math import isfinite
from typing import Any

import msgspec

from llmobs.ingest import compiled, media
from llmobs.ingest.otlp import messages
from llmobs.ingest.otlp.reading import Attributes, Reading
from llmobs.ingest.otlp.wire import Event

MOST_ATTRIBUTES = 256
MOST_CHARACTERS_OF_AN_ATTRIBUTE = 4096
MOST_EVENTS = 20
MOST_ATTRIBUTES_OF_AN_EVENT = 16
MOST_CHARACTERS_OF_A_NAME = 255
MOST_CHARACTERS_OF_AN_EVENTS_NAME = 200

_compiled = compiled.loaded()
_LEAST_INT64, _MOST_INT64 = -(2**63), 2**63 - 1

_GIVEN = (
    "gen_ai.input.", "gen_ai.prompt", "gen_ai.system_instructions", "gen_ai.tool.call.arguments",
    "gen_ai.retrieval.query", "llm.input_messages.", "llm.prompts", "llm.prompt_template", "input.value",
    "traceloop.entity.input", "ai.prompt", "ai.toolCall.args", "ai.value", "langfuse.observation.input",
    "langfuse.trace.input", "mlflow.spanInputs", "request_data", "embedding.embeddings.", "llm.openai.messages",
    "llm.anthropic.messages",
)  # fmt: skip
_ANSWERED = (
    "gen_ai.output.m", "gen_ai.completion", "gen_ai.tool.call.result", "gen_ai.retrieval.documents",
    "llm.output_messages.", "llm.completions", "output.value", "traceloop.entity.output", "ai.response.text",
    "ai.response.object", "ai.response.toolCalls", "ai.toolCall.result", "langfuse.observation.output",
    "langfuse.trace.output", "mlflow.spanOutputs", "response_data", "retrieval.documents.", "reranker.",
    "llm.openai.choices", "llm.anthropic.content",
)  # fmt: skip
_VECTORS = ("ai.embedding",)
_NAMES = ("gen_ai.prompt.name", "gen_ai.prompt.version")  # of prompts, not their texts
_CONTENT = (*_GIVEN, *_ANSWERED, *_VECTORS)
_LONGEST_BEGINNING = max(map(len, _CONTENT + _NAMES))
_GIVEN_EVENTS = ("gen_ai.content.prompt", "gen_ai.system.message", "gen_ai.user.message", "gen_ai.tool.message")
# One event with everything that was asked and answered: its attributes are called like a span's.
_DETAILS_EVENT = "gen_ai.client.inference.operation.details"
_ANSWERED_EVENTS = ("gen_ai.content.completion", "gen_ai.choice", "gen_ai.assistant.message")
_MESSAGE_EVENTS = frozenset({*_GIVEN_EVENTS, *_ANSWERED_EVENTS})


def is_tidy(attributes: Attributes) -> bool:
    """Whether attributes without content are kept as they are: each value is small. (False: `tidy` looks closer.)"""
    return _compiled is not None and _compiled.values_are_small(attributes, MOST_CHARACTERS_OF_AN_ATTRIBUTE)


def tidy(attributes: Attributes, events: Sequence[Event], reading: Reading, start_ns: int) -> None:
    """Change the attributes in place; content found goes to the reading's input and output where those are empty."""
    content: list[str] = []
    large: list[str] = []
    for name, value in attributes.items():
        if is_content(name):
            content.append(name)
        elif not _is_small(value) or len(name) > MOST_CHARACTERS_OF_A_NAME or "\x00" in name:
            large.append(name)
    if content:
        _move_content(attributes, content, reading)
    for name in large:
        value = attributes.pop(name)
        if len(name) > MOST_CHARACTERS_OF_A_NAME:
            note("text_cut", reading)
        attributes[messages.cut(name, MOST_CHARACTERS_OF_A_NAME).replace("\x00", "")] = _bounded(value, reading)
    if len(attributes) > MOST_ATTRIBUTES:
        note("attributes_left_out", reading)
        for name in list(attributes)[MOST_ATTRIBUTES:]:
            del attributes[name]
    if events:
        _keep_events(attributes, events, reading, start_ns)


def is_content(name: str) -> bool:
    """Whether an attribute of this name carries what was asked or answered."""
    return _begins_as_content(name[:_LONGEST_BEGINNING])


@lru_cache(maxsize=4096)
def _begins_as_content(name: str) -> bool:
    # An exporter sends the same few names over and over: remembering is faster than comparing.
    return name.startswith(_CONTENT) and not name.startswith(_NAMES)


def _is_small(value: Any) -> bool:
    kind = type(value)
    if kind is str:
        return len(value) <= MOST_CHARACTERS_OF_AN_ATTRIBUTE and "\x00" not in value
    if kind is float:
        return isfinite(value)
    return kind is bool or (kind is int and _LEAST_INT64 <= value <= _MOST_INT64)


def _move_content(attributes: Attributes, content: list[str], reading: Reading) -> None:
    given = [attributes.pop(name) for name in content if name.startswith(_GIVEN)]
    answered = [attributes.pop(name) for name in content if name.startswith(_ANSWERED)]
    for name in content:
        attributes.pop(name, None)
    if reading.input is None:
        reading.input = _as_messages(given, "user")
    if reading.output is None:
        reading.output = _as_messages(answered, "assistant")


def _as_messages(values: list[Any], role: str) -> str | None:
    known = [value for value in values if value not in (None, "", messages.REDACTED)]
    if not known:
        return None
    return messages.normal(known[0] if len(known) == 1 else msgspec.json.encode(known).decode(), role)


def note(flag: str, reading: Reading) -> None:
    """Tell it, once of a span."""
    remark = f"flag:{flag}"
    if remark not in reading.remarks:
        reading.remarks.append(remark)


def _bounded(value: Any, reading: Reading) -> Any:
    """The value, if JSON can hold it and it is small; else its beginning as text."""
    value = media.referred(value)
    if isinstance(value, str):
        if len(value) > MOST_CHARACTERS_OF_AN_ATTRIBUTE:
            note("text_cut", reading)
        return messages.cut(value, MOST_CHARACTERS_OF_AN_ATTRIBUTE).replace("\x00", "")
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    text = msgspec.json.encode(value).decode()
    if len(text) <= MOST_CHARACTERS_OF_AN_ATTRIBUTE and "\\u0000" not in text:
        return msgspec.json.decode(text)
    if len(text) > MOST_CHARACTERS_OF_AN_ATTRIBUTE:
        note("text_cut", reading)
    return messages.cut(text, MOST_CHARACTERS_OF_AN_ATTRIBUTE).replace("\\u0000", "")


def _keep_events(attributes: Attributes, events: Sequence[Event], reading: Reading, start_ns: int) -> None:
    """The first few events with their offset; those that carry messages become input and output."""
    for name, _, of_event in events:
        if name == _DETAILS_EVENT:
            _move_content(of_event, [key for key in of_event if is_content(key)], reading)
    given = [_event_message(event) for event in events if event[0] in _GIVEN_EVENTS]
    answered = [_event_message(event) for event in events if event[0] in _ANSWERED_EVENTS]
    if reading.input is None and given:
        reading.input = messages.normal(given, "user")
    if reading.output is None and answered:
        reading.output = messages.normal(answered, "assistant")
    told = [event for event in events if event[0] not in _MESSAGE_EVENTS]
    if len(told) > MOST_EVENTS:
        note("events_left_out", reading)
    if told:
        attributes["events"] = [_compact(event, reading, start_ns) for event in told[:MOST_EVENTS]]


def _event_message(event: Event) -> dict[str, Any]:
    name, _, attributes = event
    role = name.split(".")[1] if name.endswith(".message") else ""
    content = next((value for key, value in attributes.items() if key in _EVENT_CONTENT and value), None)
    if content is None:
        content = msgspec.json.encode(attributes).decode()
    default = "assistant" if name in _ANSWERED_EVENTS else "user"
    return {"role": attributes.get("role") or role or default, "content": content}


_EVENT_CONTENT = ("content", "gen_ai.prompt", "gen_ai.completion", "message")


def _compact(event: Event, reading: Reading, start_ns: int) -> dict[str, Any]:
    name, at_ns, attributes = event
    if len(attributes) > MOST_ATTRIBUTES_OF_AN_EVENT:
        note("events_left_out", reading)
    if len(name) > MOST_CHARACTERS_OF_AN_EVENTS_NAME:
        note("text_cut", reading)
    kept = {}
    for key, value in list(attributes.items())[:MOST_ATTRIBUTES_OF_AN_EVENT]:
        if len(key) > MOST_CHARACTERS_OF_A_NAME:
            note("text_cut", reading)
        kept[key[:MOST_CHARACTERS_OF_A_NAME].replace("\x00", "")] = _bounded(value, reading)
    cut = name[:MOST_CHARACTERS_OF_AN_EVENTS_NAME].replace("\x00", "")
    return kept | {"name": cut, "offset_ns": at_ns - start_ns}
