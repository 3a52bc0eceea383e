"""A chat completion's messages as Anthropic's system prompt and turns.

1. System and developer messages go to the system prompt, wherever they stand.
2. What stands in a row in the same role is one turn; tool results are the user's, and come first in it.
3. Texts without a character are left out: Anthropic refuses them.
"""

import re

import msgspec

from gateway.dialects.dialect import BadRequest
from gateway.dialects.media import file_block, picture_block
from gateway.dialects.wire import WRONG, Json, objects

_NO_ID = re.compile(r"[^a-zA-Z0-9_-]")
_EPHEMERAL = {"type": "ephemeral"}


def turns_to_anthropic(messages: object) -> tuple[list[Json], list[Json]]:
    """Blocks of the system prompt, and turns. Raises BadRequest where a message cannot be expressed."""
    system: list[Json] = []
    turns: list[Json] = []
    for index, message in enumerate(messages if isinstance(messages, list) else []):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise BadRequest(f"{where} is not an object")
        role = message.get("role")
        if role in ("system", "developer"):
            system += _blocks(message, where)
        elif role == "user":
            _add(turns, "user", _blocks(message, where))
        elif role == "assistant":
            _add(turns, "assistant", _assistant_blocks(message, where))
        elif role == "tool":
            _add(turns, "user", [_tool_result(message, where)])
        else:
            raise BadRequest(f"{where}.role must be one of system, developer, user, assistant, tool")
    if not turns and system:  # Anthropic wants a turn
        turns, system = [{"role": "user", "content": system}], []
    return system, [_finished(turn) for turn in turns]


def called_tools(turns: list[Json]) -> list[str]:
    """Names of the tools that the turns call, in order."""
    blocks = [block for turn in turns for block in objects(turn["content"])]
    return list(dict.fromkeys(str(block["name"]) for block in blocks if block.get("type") == "tool_use"))


def lacks_thinking(turns: list[Json]) -> bool:
    """Whether the last turn that calls tools does not begin with the thoughts that led to it."""
    for turn in reversed(turns):
        blocks = objects(turn["content"])
        if turn["role"] == "assistant":
            calls = any(block.get("type") == "tool_use" for block in blocks)
            return calls and blocks[0].get("type") not in ("thinking", "redacted_thinking")
        if not any(block.get("type") == "tool_result" for block in blocks):
            return False  # a new question begins: what led to earlier calls is past
    return False


def _add(turns: list[Json], role: str, blocks: list[Json]) -> None:
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _finished(turn: Json) -> Json:
    """Tool results first; a text alone as such."""
    blocks: list[Json] = turn["content"]
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return {"role": turn["role"], "content": blocks[0]["text"]}
    return {"role": turn["role"], "content": sorted(blocks, key=lambda block: block["type"] != "tool_result")}


def _blocks(message: Json, where: str) -> list[Json]:
    """Blocks of a message's content, with its cache markers."""
    content = message.get("content")
    if isinstance(content, str):
        blocks = [{"type": "text", "text": content}] if content.strip() else []
    elif isinstance(content, list):
        found = [_block(part, f"{where}.content[{index}]") for index, part in enumerate(content)]
        blocks = [block for block in found if block["type"] != "text" or block["text"].strip()]
    elif content is None:
        blocks = []
    else:
        raise BadRequest(f"{where}.content must be a text or a list of parts")
    if blocks:
        _mark(blocks[-1], message)
    return blocks


def _block(part: object, where: str) -> Json:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, dict):
        raise BadRequest(f"{where} is not an object")
    kind = part.get("type")
    if kind in ("text", "refusal"):
        block: Json = {"type": "text", "text": str(part.get(kind) or "")}
    elif kind == "image_url":
        picture = part.get("image_url")
        block = picture_block(picture.get("url") if isinstance(picture, dict) else picture, where)
    elif kind == "file":
        block = file_block(part.get("file"), where)
    else:
        raise BadRequest(f"{where}: parts of type {str(kind)[:40]!r} cannot be sent to this model's provider")
    _mark(block, part)
    return block


def _mark(block: Json, part: Json) -> None:
    if isinstance(part.get("cache_control"), dict):
        block["cache_control"] = part["cache_control"]
    elif part.get("prompt_cache_breakpoint"):
        block["cache_control"] = _EPHEMERAL


def _assistant_blocks(message: Json, where: str) -> list[Json]:
    if message.get("function_call"):
        raise BadRequest(f"{where}.function_call is the old form, which cannot be translated: use tool_calls")
    blocks = [block for thought in objects(message.get("thinking_blocks")) if (block := _thought(thought))]
    blocks += _blocks(message, where)
    if not message.get("content") and message.get("refusal"):
        blocks.append({"type": "text", "text": str(message["refusal"])})
    calls = objects(message.get("tool_calls"))
    return blocks + [_tool_use(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(calls)]


def _thought(block: Json) -> Json | None:
    """A thought goes back only with its signature: Anthropic refuses any other."""
    if block.get("type") == "thinking" and block.get("signature"):
        return {"type": "thinking", "thinking": block.get("thinking", ""), "signature": block["signature"]}
    if block.get("type") == "redacted_thinking" and block.get("data"):
        return {"type": "redacted_thinking", "data": block["data"]}
    return None


def _tool_use(call: Json, where: str) -> Json:
    function = call.get("function")
    if not isinstance(function, dict):
        raise BadRequest(f"{where}: only calls of functions can be sent to this model's provider")
    block: Json = {
        "type": "tool_use",
        "id": _id(call.get("id"), f"{where}.id"),
        "name": str(function.get("name") or ""),
        "input": _arguments(function.get("arguments"), f"{where}.function.arguments"),
    }
    _mark(block, call)
    return block


def _arguments(given: object, where: str) -> Json:
    if given is None or (isinstance(given, str) and not given.strip()):
        return {}
    try:
        arguments = msgspec.json.decode(given) if isinstance(given, str) else given
    except WRONG:
        raise BadRequest(f"{where} is no JSON") from None
    if not isinstance(arguments, dict):
        raise BadRequest(f"{where} is no JSON object")
    return arguments


def _tool_result(message: Json, where: str) -> Json:
    block: Json = {"type": "tool_result", "tool_use_id": _id(message.get("tool_call_id"), f"{where}.tool_call_id")}
    content = message.get("content")
    if isinstance(content, str):
        block["content"] = content
        _mark(block, message)
    else:
        block["content"] = _blocks(message, where)
        for inner in block["content"]:
            marker = inner.pop("cache_control", None)  # of the result as a whole
            if marker:
                block["cache_control"] = marker
    if message.get("is_error") is True:
        block["is_error"] = True
    return block


def _id(given: object, where: str) -> str:
    """A tool call's id in the letters that Anthropic allows, the same wherever it stands."""
    if not isinstance(given, str) or not given:
        raise BadRequest(f"{where} is missing")
    return _NO_ID.sub("_", given)
