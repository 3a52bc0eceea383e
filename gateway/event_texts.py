"""Where texts stand in the events of streams, of all wire formats: pieces of a text that goes on, and whole ones.

`pieces` names the text that each piece belongs to; `ended` and `ending` say whose texts end before an event, or with
it; `whole_texts` is where an event says again all that came in pieces.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from llmobs.guards.texts import Json, Place, answered, encode, shown

_CHAT_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")
_DELTA_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
_JSON_DELTAS = ("response.function_call_arguments", "response.mcp_call_arguments")
_TEXT_DELTAS = (
    "response.output_text", "response.refusal", "response.reasoning_summary_text", "response.reasoning_text",
    "response.custom_tool_call_input", "response.code_interpreter_call_code",
)  # fmt: skip
_DONE_TEXTS = ("text", "refusal", "arguments", "input", "code")
_BEGINNINGS = ("response.created", "response.in_progress", "response.queued")

# Names a text of a stream; texts that end together begin alike.
TextKey = tuple[object, ...]


@dataclass(slots=True)
class Piece:
    """A piece of a text, at `holder[name]` of an event; `event(text)` is an event that brings another piece of it."""

    key: TextKey
    holder: Json
    name: str
    event: Callable[[str], Json]
    is_json: bool = False


def pieces(event: Json) -> Iterator[Piece]:
    """The pieces of texts in an event of any format."""
    kind = event.get("type")
    if kind == "content_block_delta" and isinstance(event.get("delta"), dict):
        yield from _anthropic_pieces(event)
    elif isinstance(kind, str) and kind.endswith(".delta") and isinstance(event.get("delta"), str):
        name = kind.removesuffix(".delta")
        if name in _JSON_DELTAS or name in _TEXT_DELTAS:
            yield Piece(_item_key(event, name), event, "delta", _with_delta(event), name in _JSON_DELTAS)
    elif isinstance(event.get("choices"), list):
        for choice in event["choices"]:
            if isinstance(choice, dict) and isinstance(choice.get("delta"), dict):
                yield from _chat_pieces(event, choice)


def _anthropic_pieces(event: Json) -> Iterator[Piece]:
    delta, index = event["delta"], event.get("index")
    name = _DELTA_TEXTS.get(str(delta.get("type")))
    if name is not None and isinstance(delta.get(name), str):

        def made(text: str) -> Json:
            return {
                "type": "content_block_delta",
                "index": index,
                "delta": {"type": delta["type"], name: text},
            }

        yield Piece(("block", index, name), delta, name, made, name == "partial_json")


def _item_key(event: Json, name: str) -> TextKey:
    return (
        name,
        event.get("item_id"),
        event.get("output_index"),
        event.get("content_index"),
        event.get("summary_index"),
    )


def _with_delta(event: Json) -> Callable[[str], Json]:
    return lambda text: {**event, "delta": text}


def _chat_pieces(event: Json, choice: Json) -> Iterator[Piece]:
    delta, index = choice["delta"], choice.get("index")
    for name in _CHAT_TEXTS:
        if isinstance(delta.get(name), str):
            yield Piece(("choice", index, name), delta, name, partial(_chunk, event, index, name))
    for call in delta.get("tool_calls") or ():
        for kind, name in (("function", "arguments"), ("custom", "input")):
            holder = call.get(kind) if isinstance(call, dict) else None
            if isinstance(holder, dict) and isinstance(holder.get(name), str):
                number = call.get("index")
                made = partial(_tool_chunk, event, index, number, kind, name)
                yield Piece(("choice", index, "tool", number), holder, name, made, name == "arguments")
    function = delta.get("function_call")
    if isinstance(function, dict) and isinstance(function.get("arguments"), str):
        made = partial(_chunk, event, index, "function_call.arguments")
        yield Piece(("choice", index, "function_call"), function, "arguments", made, is_json=True)


def _chunk(event: Json, index: object, name: str, text: str) -> Json:
    """A chunk like another, that brings this text alone; `name`: its path within the delta."""
    delta: Any = text
    for part in reversed(name.split(".")):
        delta = {part: delta}
    kept = {field: value for field, value in event.items() if field not in ("choices", "usage")}
    return {**kept, "choices": [{"index": index, "delta": delta, "finish_reason": None}]}


def _tool_chunk(event: Json, index: object, number: object, kind: str, name: str, text: str) -> Json:
    made = _chunk(event, index, "tool_calls", "")
    made["choices"][0]["delta"]["tool_calls"] = [{"index": number, kind: {name: text}}]
    return made


def ended(event: Json) -> list[TextKey]:
    """Whose texts have ended before this event."""
    kind = str(event.get("type") or "")
    if kind == "content_block_stop":
        return [("block", event.get("index"))]
    if kind == "content_block_delta" and isinstance(event.get("delta"), dict):
        if event["delta"].get("type") == "signature_delta":
            return [("block", event.get("index"))]
    elif kind.endswith(".done"):
        return [_item_key(event, kind.removesuffix(".done"))]
    elif kind in ("message_delta", "message_stop", "error") or (kind.startswith("response.") and "response" in event):
        return [] if kind in _BEGINNINGS else [()]
    return []


def ending(event: Json) -> list[TextKey]:
    """Whose texts end with this event."""
    choices = event.get("choices")
    return [
        ("choice", choice.get("index"))
        for choice in (choices if isinstance(choices, list) else ())
        if isinstance(choice, dict) and choice.get("finish_reason") is not None
    ]


def whole_texts(event: Json) -> list[Place]:
    """Where texts stand whole in an event."""
    kind = str(event.get("type") or "")
    if kind == "content_block_start":
        return shown(event.get("content_block"))
    if kind == "content_block_delta" and isinstance(event.get("delta"), dict) and "citation" in event["delta"]:
        return shown(event["delta"]["citation"])
    if not kind.startswith("response."):
        return []
    places = [Place(event, name, name == "arguments") for name in _DONE_TEXTS if isinstance(event.get(name), str)]
    for name in ("item", "part"):
        places += shown(event.get(name))
    if isinstance(event.get("response"), dict):
        places += answered(event["response"])[0].places
    return places


def strip_logprobs(event: Json) -> bool:
    """Take out what spells the text out token by token; whether there was any."""
    found = False
    for holder in (event, *(c for c in event.get("choices") or () if isinstance(c, dict))):
        if holder.get("logprobs"):
            holder["logprobs"] = [] if isinstance(holder["logprobs"], list) else None
            found = True
    return found


def is_empty(event: Json) -> bool:
    """Whether nothing is left in an event whose text was held back."""
    choices = event.get("choices")
    if not isinstance(choices, list):
        delta = event.get("delta") or {}
        return not (delta if isinstance(delta, str) else any(delta.get(name) for name in _DELTA_TEXTS.values()))
    if event.get("usage"):
        return False
    return all(choice.get("finish_reason") is None and not _has_any(choice.get("delta")) for choice in choices)


def _has_any(value: Any) -> bool:
    """Whether a delta says anything but indexes and empty texts."""
    if isinstance(value, dict):
        return any(_has_any(inner) for name, inner in value.items() if name != "index")
    if isinstance(value, list):
        return any(_has_any(inner) for inner in value)
    return bool(value)


def with_data(raw: bytes, event: Json) -> bytes:
    """The event's lines with other data."""
    lines: list[bytes] = []
    for line in raw.split(b"\n"):
        if not line.startswith(b"data:"):
            lines.append(line)
        elif event:
            lines.append(b"data: " + encode(event) + (b"\r" if line.endswith(b"\r") else b""))
            event = {}
    return b"\n".join(lines)


def sse(event: Json) -> bytes:
    name = event.get("type")
    line = b"event: %s\n" % str(name).encode() if isinstance(name, str) else b""
    return line + b"data: " + encode(event) + b"\n\n"
