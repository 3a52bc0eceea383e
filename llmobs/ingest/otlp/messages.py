"""Messages in one form, as JSON text: a list of `{"role", "parts"}`, whatever the library writes.

Parts: `text`, `reasoning`, `tool_call`, `tool_call_response`, `uri` (an image and the like).
"""

from typing import Any

import msgspec

from llmobs.ingest import media
from llmobs.ingest.otlp.reading import parsed

# Texts are kept whole up to here; a longer one has its long strings cut, each with a mark.
MOST_CHARACTERS = 1_000_000
MOST_CHARACTERS_OF_A_PART = 20_000

REDACTED = "__REDACTED__"


class _Message(msgspec.Struct):
    role: str
    parts: list[msgspec.Raw]


_official = msgspec.json.Decoder(list[_Message])
_parts = msgspec.json.Decoder(list[msgspec.Raw])


def official(messages: object, system: object, role: str) -> str | None:
    """`gen_ai.*.messages` with `gen_ai.system_instructions` before them; already in our form, so kept as they are."""
    if messages is None and system is None:
        return None
    if isinstance(messages, str) and len(messages) <= MOST_CHARACTERS and _fits(_official, messages):
        if system is None:
            return messages
        if isinstance(system, str) and _fits(_parts, system):
            rest = messages.lstrip()[1:]
            comma = "" if rest.lstrip().startswith("]") else ","
            return f'[{{"role":"system","parts":{system}}}{comma}{rest}'
    listed = _system(system) + _listed(messages, role)
    return encoded(listed) if listed else None


def normal(value: object, role: str) -> str | None:
    """Messages of any known shape (a JSON text, or plain Python) in our form; a text that is no JSON is one message."""
    if value is None or value in ("", REDACTED):
        return None
    listed = _listed(value, role)
    return encoded(listed) if listed else None


def of_text(text: str, role: str) -> str:
    """One message with one text."""
    return encoded([{"role": role, "parts": [{"type": "text", "content": text}]}])


def encoded(messages: list[dict[str, Any]]) -> str:
    text = msgspec.json.encode(messages).decode()
    return text if len(text) <= MOST_CHARACTERS else _bounded(messages)


def cut(text: str, most: int) -> str:
    """The text, or its beginning with a mark that says how much there was."""
    return text if len(text) <= most else f"{text[:most]}… (cut: {len(text)} characters)"


def message(value: dict[str, Any], role: str) -> dict[str, Any]:
    """One message of OpenAI's, Anthropic's, Vercel's or the convention's shape in ours."""
    role = str(value.get("role") or _LANGCHAIN_ROLES.get(str(value.get("type")), role))
    if isinstance(value.get("parts"), list):
        return {**value, "role": role}
    parts = _content(value.get("content"))
    if role == "tool" and value.get("tool_call_id"):
        answer = value.get("content")
        parts = [{"type": "tool_call_response", "id": value["tool_call_id"], "response": answer}]
    parts += [_tool_call(call) for call in value.get("tool_calls") or () if isinstance(call, dict)]
    made: dict[str, Any] = {"role": role, "parts": parts}
    if value.get("finish_reason"):
        made["finish_reason"] = value["finish_reason"]
    return made


_LANGCHAIN_ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}


def _fits(decoder: msgspec.json.Decoder[Any], text: str) -> bool:
    try:
        decoder.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _system(system: object) -> list[dict[str, Any]]:
    if system is None:
        return []
    value = parsed(system)
    parts = value if isinstance(value, list) else [{"type": "text", "content": str(system)}]
    return [{"role": "system", "parts": parts}]


def _listed(value: object, role: str) -> list[dict[str, Any]]:
    if value is None:
        return []
    plain = parsed(value) if isinstance(value, str) and value.lstrip()[:1] in ("[", "{") else value
    if plain is None:
        plain = value
    if isinstance(plain, dict):
        plain = _unwrapped(plain)
    if isinstance(plain, dict):
        plain = [plain]
    if isinstance(plain, list) and plain and all(_is_message(item) for item in plain):
        return [message(item, role) for item in plain]
    text = plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()
    return [{"role": role, "parts": [{"type": "text", "content": text}]}]


def _unwrapped(value: dict[str, Any]) -> Any:
    """The messages inside a whole request or response, where it is one."""
    if isinstance(value.get("messages"), list):
        system = value.get("system")
        return ([{"role": "system", "content": system}] if system else []) + value["messages"]
    if isinstance(value.get("choices"), list):
        return [choice.get("message", choice) for choice in value["choices"] if isinstance(choice, dict)]
    return value


def _is_message(item: object) -> bool:
    if not isinstance(item, dict):
        return False
    return "role" in item or ("content" in item and item.get("type") in _LANGCHAIN_ROLES)


def _content(content: object) -> list[dict[str, Any]]:
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    if isinstance(content, list):
        return [_part(part) for part in content]
    return [{"type": "text", "content": msgspec.json.encode(content).decode()}]


def _part(part: object) -> dict[str, Any]:
    if not isinstance(part, dict):
        return {"type": "text", "content": str(part)}
    kind = part.get("type")
    if isinstance(part.get("text"), str):
        return {"type": "text", "content": part["text"]}
    if kind == "image_url":
        image = part.get("image_url")
        return {"type": "uri", "modality": "image", "uri": image.get("url") if isinstance(image, dict) else image}
    if kind in ("tool_use", "tool-call", "tool_call"):
        return _tool_call(part)
    if kind in ("tool_result", "tool-result"):
        answer = part.get("content", part.get("output", part.get("result")))
        return {
            "type": "tool_call_response",
            "id": part.get("tool_use_id") or part.get("toolCallId"),
            "response": answer,
        }
    if kind in ("thinking", "reasoning"):
        return {"type": "reasoning", "content": part.get("thinking") or part.get("content") or ""}
    return part


def _tool_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    named = function if isinstance(function, dict) else call
    arguments = named.get("arguments", named.get("args", named.get("input")))
    return {
        "type": "tool_call",
        "id": call.get("id") or call.get("toolCallId"),
        "name": named.get("name") or named.get("toolName"),
        "arguments": arguments if (read := parsed(arguments)) is None else read,
    }


def _bounded(messages: list[dict[str, Any]]) -> str:
    """Media first: a reference is short, and of bytes that were cut nobody can say what they were."""
    messages = media.referred(messages)
    text = msgspec.json.encode(messages).decode()
    if len(text) <= MOST_CHARACTERS:
        return text
    text = msgspec.json.encode(_with_strings_cut(messages)).decode()
    if len(text) <= MOST_CHARACTERS:
        return text
    return of_text(cut(text, MOST_CHARACTERS // 2), "user")


def _with_strings_cut(value: Any) -> Any:
    if isinstance(value, str):
        return cut(value, MOST_CHARACTERS_OF_A_PART)
    if isinstance(value, list):
        return [_with_strings_cut(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_strings_cut(item) for key, item in value.items()}
    return value
