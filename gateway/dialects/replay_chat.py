"""Chat completions: chunks as one completion and back."""

from typing import Any

from gateway.dialects.wire import DONE, Json, objects, pieces, sse

_STREAMED = ("content", "refusal", "reasoning_content", "reasoning")  # texts that come in deltas


def chat_as_whole(chunks: list[Json]) -> Json | None:
    """All chunks as one completion; None: no choice is in them."""
    found: Json = {}
    choices: dict[int, Json] = {}
    for chunk in chunks:
        for name, value in chunk.items():
            if name != "choices" and (value is not None or name not in found):
                found[name] = value
        for part in objects(chunk.get("choices")):
            _add(choices.setdefault(part.get("index", 0), {"message": {}}), part)
    if not choices:
        return None
    found["object"] = "chat.completion"
    found["choices"] = [choices[index] for index in sorted(choices)]
    if found.get("usage", 0) is None:
        del found["usage"]
    return found


def chat_as_stream(answer: Json, wants_usage: bool) -> bytes:
    """A completion as chunks, and its usage after them if it was asked for."""
    head = {name: value for name, value in answer.items() if name not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    no_usage: Json = {"usage": None} if wants_usage else {}
    out = []
    for choice in objects(answer.get("choices")):
        deltas = _deltas(choice.get("message") or {})
        first = {name: value for name, value in choice.items() if name not in ("message", "finish_reason")}
        last = {"index": choice.get("index", 0), "delta": {}, "finish_reason": choice.get("finish_reason")}
        parts = [{"index": choice.get("index", 0), "delta": delta, "finish_reason": None} for delta in deltas]
        parts[0] = {**first, **parts[0]}
        out += [sse({**head, "choices": [part], **no_usage}) for part in (*parts, last)]
    if wants_usage and answer.get("usage") is not None:
        out.append(sse({**head, "choices": [], "usage": answer["usage"]}))
    return b"".join(out) + DONE


def _deltas(message: Json) -> list[Json]:
    """The first says all that does not come piece by piece."""
    written = [name for name in _STREAMED if isinstance(message.get(name), str)]
    calls = objects(message.get("tool_calls"))
    first = {name: "" if name in written else value for name, value in message.items() if name != "tool_calls"}
    deltas = [first]
    for name in ("reasoning_content", "reasoning", "content", "refusal"):
        if name in written:
            deltas += [{name: piece} for piece in pieces(message[name])]
    for index, call in enumerate(calls):
        function = call.get("function") or {}
        begun = {**call, "index": index}
        if isinstance(function.get("arguments"), str):
            begun["function"] = {**function, "arguments": ""}
            said = [{"index": index, "function": {"arguments": piece}} for piece in pieces(function["arguments"])]
        else:
            said = []
        deltas += [{"tool_calls": [part]} for part in (begun, *said)]
    return deltas


def _add(choice: Json, part: Json) -> None:
    """What one chunk says of a choice, onto what is known of it."""
    for name, value in part.items():
        if name == "logprobs" and isinstance(value, dict) and isinstance(choice.get(name), dict):
            for kind, tokens in value.items():
                choice[name][kind] = [*(choice[name].get(kind) or []), *(tokens or [])] or None
        elif name != "delta" and (value is not None or name not in choice):
            choice[name] = value
    message: Json = choice["message"]
    for name, value in (part.get("delta") or {}).items():
        if name == "tool_calls":
            _add_calls(message.setdefault(name, []), objects(value))
        else:
            _join(message, name, value)


def _add_calls(calls: list[Json], deltas: list[Json]) -> None:
    for delta in deltas:
        index = delta.get("index", len(calls) if delta.get("id") else max(0, len(calls) - 1))
        while len(calls) <= index:
            calls.append({})
        call = calls[index]
        for name, value in delta.items():
            if name == "function" and isinstance(value, dict):
                for key, text in value.items():
                    _join(call.setdefault("function", {}), key, text)
            elif name != "index" and value is not None:
                call[name] = value


def _join(into: Json, name: str, value: Any) -> None:
    """Texts and lists grow; of anything else the last counts."""
    known: Any = into.get(name)
    if name != "role" and type(known) in (str, list) and type(value) is type(known):
        into[name] = known + value
    elif value is not None or name not in into:
        into[name] = value
