"""Anthropic's system prompt and turns as a chat completion's messages.

1. The system prompt is one message; cache markers are left out, since OpenAI caches by itself.
2. Tool results become messages of their own, before what else the user says; a picture in one follows as the user's.
3. Thoughts are left out: OpenAI's format takes none back.
"""

from gateway.dialects.dialect import BadRequest
from gateway.dialects.media import document_parts, picture_url
from gateway.dialects.wire import Json, encode, objects

_BETWEEN_BLOCKS = "\n\n"
# What only Anthropic can read again: its own tools' work, and thoughts.
_LEFT_OUT = frozenset({"thinking", "redacted_thinking"})


def turns_to_openai(system: object, turns: object) -> list[Json]:
    """A chat completion's messages. Raises BadRequest where a turn cannot be expressed."""
    messages: list[Json] = []
    prompt = _text(system, "system")
    if prompt:
        messages.append({"role": "system", "content": prompt})
    for index, turn in enumerate(turns if isinstance(turns, list) else []):
        where = f"messages[{index}]"
        if not isinstance(turn, dict):
            raise BadRequest(f"{where} is not an object")
        role, content = turn.get("role"), turn.get("content")
        if not isinstance(content, str | list):
            raise BadRequest(f"{where}.content must be a text or a list of blocks")
        if role == "user":
            messages += _user(content, where)
        elif role == "assistant":
            messages.append(_assistant(content, where))
        elif role == "system":
            messages.append({"role": "system", "content": _text(content, where)})
        else:
            raise BadRequest(f"{where}.role must be one of user, assistant, system")
    return messages


def _text(content: object, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise BadRequest(f"{where} must be a text or a list of blocks")
    return _BETWEEN_BLOCKS.join(str(block.get("text", "")) for block in objects(content))


def _user(content: str | list[object], where: str) -> list[Json]:
    if isinstance(content, str):
        return [{"role": "user", "content": content}]
    results: list[Json] = []
    parts: list[Json] = []
    for index, block in enumerate(objects(content)):
        place = f"{where}.content[{index}]"
        if block.get("type") == "tool_result":
            message, pictures = _tool_message(block, place)
            results.append(message)
            parts += pictures
        else:
            parts += _parts(block, place)
    if not parts:
        return results
    is_plain = len(parts) == 1 and parts[0]["type"] == "text"
    return [*results, {"role": "user", "content": parts[0]["text"] if is_plain else parts}]


def _parts(block: Json, where: str) -> list[Json]:
    kind = block.get("type")
    if kind == "text":
        return [{"type": "text", "text": str(block.get("text", ""))}]
    if kind == "image":
        return [{"type": "image_url", "image_url": {"url": picture_url(block, where)}}]
    if kind == "document":
        return document_parts(block, where)
    if kind == "search_result":
        lines = [str(block.get("title", "")), str(block.get("source", "")), _text(block.get("content"), where)]
        return [{"type": "text", "text": "\n".join(lines)}]
    raise BadRequest(f"{where}: blocks of type {str(kind)[:40]!r} cannot be sent to this model's provider")


def _tool_message(block: Json, where: str) -> tuple[Json, list[Json]]:
    """The result as a message, and its pictures: OpenAI's tool messages are texts."""
    content = block.get("content")
    parts = [] if content is None else [{"type": "text", "text": content}] if isinstance(content, str) else []
    for index, inner in enumerate(objects(content)):
        parts += _parts(inner, f"{where}.content[{index}]")
    said = _BETWEEN_BLOCKS.join(part["text"] for part in parts if part["type"] == "text")
    pictures = [part for part in parts if part["type"] != "text"]
    call_id = block.get("tool_use_id")
    if pictures:
        pictures.insert(0, {"type": "text", "text": f"What tool call {call_id} returned besides its text:"})
    if block.get("is_error") is True and not said.lower().startswith("error"):
        said = f"Error: {said}"  # the format has no other place for it
    return {"role": "tool", "tool_call_id": call_id, "content": said}, pictures


def _assistant(content: str | list[object], where: str) -> Json:
    if isinstance(content, str):
        return {"role": "assistant", "content": content}
    written: list[str] = []
    calls: list[Json] = []
    for block in objects(content):
        kind = block.get("type")
        if kind == "text":
            written.append(str(block.get("text", "")))
        elif kind == "tool_use":
            arguments = encode(block.get("input") or {}).decode()
            function = {"name": block.get("name"), "arguments": arguments}
            calls.append({"id": block.get("id"), "type": "function", "function": function})
        elif kind not in _LEFT_OUT:
            raise BadRequest(
                f"{where}: blocks of type {str(kind)[:40]!r} are known to Anthropic only; leave them out for this model"
            )
    message: Json = {"role": "assistant", "content": "".join(written) if written or not calls else None}
    if calls:
        message["tool_calls"] = calls
    return message
