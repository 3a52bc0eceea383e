"""Messages of a gateway call in one form, whatever the wire format: a JSON list of `{"role", "parts"}`.

Requests and answers come as the client sent them and as the provider sent them (a stream as its SSE text). What does
not parse is kept as one text part: recording never fails because of what a provider said.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from llmobs.ingest import media

LONGEST_RAW = 20_000  # characters kept of a body that cannot be read as messages

Message = dict[str, Any]  # {"role": str, "parts": [{"type": str, ...}]}, as OpenTelemetry's GenAI conventions say


def request_messages(body: bytes) -> str | None:
    """What was asked; None where no body was kept."""
    return _safely(_asked, body, "user")


def response_messages(body: bytes) -> str | None:
    """What was answered, of a whole answer or of a stream; None where no body was kept."""
    return _safely(_answer, body, "assistant")


def _safely(read: Callable[[bytes], list[Message]], body: bytes, role: str) -> str | None:
    if not body:
        return None
    try:
        found = read(body)
    except (AttributeError, KeyError, TypeError, ValueError):  # JSON, but of a shape that no dialect has
        found = []
    return _encoded(found) if found else _raw(body, role)


def _asked(body: bytes) -> list[Message]:
    parsed = _parsed(body)
    if not isinstance(parsed, dict):
        return []
    found: list[Message] = []
    for key in ("system", "instructions"):
        if parsed.get(key):
            found.append({"role": "system", "parts": _parts(parsed[key])})
    asked = parsed.get("messages", parsed.get("input"))
    if isinstance(asked, str):
        found.append({"role": "user", "parts": _parts(asked)})
    for message in asked if isinstance(asked, list) else ():
        if isinstance(message, dict):
            found.append(_message(message))
    return found


def _answer(body: bytes) -> list[Message]:
    if body[:200].lstrip().startswith((b"data:", b"event:", b":")):
        return _streamed(body)
    parsed = _parsed(body)
    return _answered(parsed) if isinstance(parsed, dict) else []


def _answered(parsed: Message) -> list[Message]:
    choices = parsed.get("choices")
    if isinstance(choices, list):
        return [
            _with_reason(_message(choice["message"]), choice.get("finish_reason"))
            for choice in choices
            if isinstance(choice, dict) and isinstance(choice.get("message"), dict)
        ]
    if isinstance(parsed.get("content"), list):
        message = {"role": str(parsed.get("role") or "assistant"), "parts": _parts(parsed["content"])}
        return [_with_reason(message, parsed.get("stop_reason"))]
    return []


def _with_reason(message: Message, reason: object) -> Message:
    if isinstance(reason, str):
        message["finish_reason"] = reason
    return message


def _message(message: Message) -> Message:
    role = str(message.get("role") or "")
    if role == "tool":
        answer = {"type": "tool_call_response", "id": message.get("tool_call_id"), "response": message.get("content")}
        return {"role": role, "parts": [answer]}
    parts = _parts(message.get("content"))
    if isinstance(message.get("refusal"), str):
        parts.append({"type": "text", "content": message["refusal"]})
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            parts.append(_tool_call(call.get("id"), function.get("name"), function.get("arguments")))
    return {"role": role, "parts": parts}


def _tool_call(call_id: object, name: object, arguments: object) -> Message:
    return {"type": "tool_call", "id": call_id, "name": name, "arguments": arguments}


def _parts(content: object) -> list[Message]:
    if isinstance(content, str):
        return [{"type": "text", "content": content}] if content else []
    return [_part(block) for block in content] if isinstance(content, list) else []


def _part(block: object) -> Message:
    """One content block of either format; what is not known keeps its fields."""
    if not isinstance(block, dict):
        return {"type": "text", "content": str(block)}
    kind = block.get("type")
    if kind in ("text", "input_text", "output_text"):
        return {"type": "text", "content": str(block.get("text") or "")}
    if kind == "thinking":
        return {"type": "reasoning", "content": str(block.get("thinking") or "")}
    if kind == "tool_use":
        return _tool_call(block.get("id"), block.get("name"), block.get("input"))
    if kind == "tool_result":
        return {"type": "tool_call_response", "id": block.get("tool_use_id"), "response": block.get("content")}
    return block


def _streamed(body: bytes) -> list[Message]:
    """The messages that a stream adds up to, of either format, by choice."""
    texts: dict[int, list[str]] = {}
    tools: dict[tuple[int, int], Message] = {}
    reasons: dict[int, str] = {}
    for event in _events(body):
        if event.get("type"):
            _take_anthropic(event, texts, tools, reasons)
        else:
            _take_openai(event, texts, tools, reasons)
    found: list[Message] = []
    for choice in sorted({*texts, *(index for index, _ in tools), *reasons}):
        parts: list[Message] = _parts("".join(texts.get(choice, ())))
        parts += [tools[key] for key in sorted(tools) if key[0] == choice]
        found.append(_with_reason({"role": "assistant", "parts": parts}, reasons.get(choice)))
    return found


def _events(body: bytes) -> Iterator[Message]:
    for line in body.split(b"\n"):
        if line.startswith(b"data:") and b"{" in line:
            event = _parsed(line[5:])
            if isinstance(event, dict):
                yield event


def _take_openai(
    event: Message, texts: dict[int, list[str]], tools: dict[tuple[int, int], Message], reasons: dict[int, str]
) -> None:
    choices = event.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        index = int(choice.get("index") or 0)
        delta = choice.get("delta") or {}
        if isinstance(delta.get("content"), str):
            texts.setdefault(index, []).append(delta["content"])
        for call in delta.get("tool_calls") or ():
            function = call.get("function") or {}
            tool = tools.setdefault((index, int(call.get("index") or 0)), _tool_call(None, None, ""))
            tool["id"] = call.get("id") or tool["id"]
            tool["name"] = function.get("name") or tool["name"]
            tool["arguments"] += function.get("arguments") or ""
        if isinstance(choice.get("finish_reason"), str):
            reasons[index] = choice["finish_reason"]


def _take_anthropic(
    event: Message, texts: dict[int, list[str]], tools: dict[tuple[int, int], Message], reasons: dict[int, str]
) -> None:
    delta = event.get("delta") if isinstance(event.get("delta"), dict) else {}
    assert isinstance(delta, dict)
    if event["type"] == "content_block_start":
        block = event.get("content_block") or {}
        if block.get("type") == "tool_use":
            tools[0, int(event.get("index") or 0)] = _tool_call(block.get("id"), block.get("name"), "")
    elif event["type"] == "content_block_delta":
        if isinstance(delta.get("text"), str):
            texts.setdefault(0, []).append(delta["text"])
        elif isinstance(delta.get("partial_json"), str):
            tool = tools.setdefault((0, int(event.get("index") or 0)), _tool_call(None, None, ""))
            tool["arguments"] += delta["partial_json"]
    elif event["type"] == "message_delta" and isinstance(delta.get("stop_reason"), str):
        reasons[0] = delta["stop_reason"]


def _parsed(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _raw(body: bytes, role: str) -> str:
    text = body.decode("utf-8", "replace")
    text = media.referred_body(text) if _parsed(body) is None else media.referred_json(text)
    return _encoded([{"role": role, "parts": [{"type": "text", "content": text[:LONGEST_RAW]}]}])


def _encoded(messages: list[Message]) -> str:
    try:
        return msgspec.json.encode(messages).decode()
    except (UnicodeError, ValueError):  # a lone surrogate that a client escaped
        return json.dumps(messages)
