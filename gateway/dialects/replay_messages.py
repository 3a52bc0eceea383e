"""Anthropic's messages: events as one message and back."""

from typing import Any

import msgspec

from gateway.dialects.wire import Json, encode, named_sse, objects, pieces

# A block's fields that come in deltas: the delta's type and field.
_WRITTEN = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking")}
_WITH_INPUT = frozenset({"tool_use", "server_tool_use"})


def messages_as_whole(events: list[Json]) -> Json | None:
    """All events as one message; None: it has no beginning."""
    found: Json | None = None
    blocks: dict[int, Json] = {}
    inputs: dict[int, str] = {}
    for event in events:
        kind, index = event.get("type"), event.get("index", 0)
        if kind == "message_start":
            found = event["message"]
        elif kind == "content_block_start":
            blocks[index] = event["content_block"]
        elif kind == "content_block_delta":
            _add(blocks[index], event["delta"], inputs, index)
        elif kind == "message_delta" and found is not None:
            found.update({name: value for name, value in event["delta"].items() if value is not None})
            found["usage"] = {**(found.get("usage") or {}), **(event.get("usage") or {})}
    if found is None:
        return None
    for index, text in inputs.items():
        blocks[index]["input"] = msgspec.json.decode(text)
    found["content"] = [blocks[index] for index in sorted(blocks)]
    return found


def messages_as_stream(answer: Json, wants_usage: bool) -> bytes:
    """A message as events; this format always reports usage."""
    usage = answer.get("usage") or {}
    begun = {
        **answer,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 0},
    }
    events: list[Json] = [{"type": "message_start", "message": begun}]
    for index, block in enumerate(objects(answer.get("content"))):
        start, deltas = _deltas(block)
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    ended = {name: answer.get(name) for name in ("stop_reason", "stop_sequence")}
    events.append({"type": "message_delta", "delta": ended, "usage": {"output_tokens": usage.get("output_tokens", 0)}})
    events.append({"type": "message_stop"})
    return b"".join(map(named_sse, events))


def _deltas(block: Json) -> tuple[Json, list[Json]]:
    """A block as it begins, and what follows."""
    kind = str(block.get("type"))
    start, deltas = dict(block), []
    if kind in _WRITTEN:
        delta_type, name = _WRITTEN[kind]
        start[name] = ""
        deltas = [{"type": delta_type, name: piece} for piece in pieces(str(block.get(name, "")))]
    if isinstance(block.get("signature"), str):
        start["signature"] = ""
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    if isinstance(block.get("citations"), list):
        start["citations"] = []
        deltas += [{"type": "citations_delta", "citation": citation} for citation in block["citations"]]
    if kind in _WITH_INPUT:
        start["input"] = {}
        written = encode(block.get("input") or {}).decode()
        deltas += [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(written)]
    return start, deltas


def _add(block: Json, delta: Json, inputs: dict[int, str], index: int) -> None:
    kind: Any = delta.get("type")
    if kind == "text_delta":
        block["text"] = block.get("text", "") + delta["text"]
    elif kind == "thinking_delta":
        block["thinking"] = block.get("thinking", "") + delta["thinking"]
    elif kind == "signature_delta":
        block["signature"] = delta["signature"]
    elif kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or []), delta["citation"]]
    elif kind == "input_json_delta" and delta["partial_json"]:
        inputs[index] = inputs.get(index, "") + delta["partial_json"]
