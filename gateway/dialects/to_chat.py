"""A request for one of OpenAI's responses as one for a chat completion, for providers that know no responses.

What stands at the provider (earlier responses, stored prompts, files by id, tools that it runs) cannot be sent along,
and is refused.
"""

import base64
import binascii

from gateway.dialects.dialect import Asked, BadRequest
from gateway.dialects.openai import ceiling_field
from gateway.dialects.wire import Json, encode, json_object, objects

# Thoughts of another format travel in a response's `encrypted_content`, which callers send back as it came.
_THOUGHTS = "llmobs:"
_STORED = ("previous_response_id", "conversation", "prompt")
_TEXTS = ("input_text", "output_text", "text")


def to_chat(given: Json, model: str, asked: Asked) -> Json:
    """The fields of the chat completion's request. Raises BadRequest where it cannot be expressed, and says what."""
    stored = [name for name in _STORED if given.get(name)]
    if stored:
        raise BadRequest(f"`{stored[0]}` stands at OpenAI, and the model's provider has no such thing: send the input")
    sent: Json = {"model": model, "messages": _messages(given)}
    if asked.most_output_tokens:
        sent[ceiling_field(model)] = asked.most_output_tokens
    if asked.is_stream:
        sent["stream"] = True
        sent["stream_options"] = {"include_usage": True}
    _add_tools(given, sent)
    _add_output(given, sent)
    reasoning = given.get("reasoning")
    if isinstance(reasoning, dict) and reasoning.get("effort"):
        sent["reasoning_effort"] = reasoning["effort"]
    for name in ("temperature", "top_p"):
        if given.get(name) is not None:
            sent[name] = given[name]
    if asked.user:
        sent["user"] = asked.user
    return sent


def packed(thoughts: list[Json]) -> str:
    """Another format's thoughts as `encrypted_content`."""
    return _THOUGHTS + base64.b64encode(encode(thoughts)).decode()


def _unpacked(content: object) -> list[Json]:
    if not isinstance(content, str) or not content.startswith(_THOUGHTS):
        return []  # a provider's own, which no other can read
    try:
        wrapped = json_object(b'{"thoughts":%s}' % base64.b64decode(content[len(_THOUGHTS) :], validate=True))
    except binascii.Error:
        return []
    return objects((wrapped or {}).get("thoughts"))


# ------------------------------------------------------------ input


def _messages(given: Json) -> list[Json]:
    messages: list[Json] = []
    if given.get("instructions"):
        messages.append({"role": "system", "content": given["instructions"]})
    items = given.get("input")
    if isinstance(items, str):
        return [*messages, {"role": "user", "content": items}]
    if not isinstance(items, list) or not items:
        raise BadRequest("`input` must be a text or a list of items")
    for index, item in enumerate(items):
        where = f"input[{index}]"
        if not isinstance(item, dict):
            raise BadRequest(f"{where} is not an object")
        _add(messages, item, where)
    return messages


def _add(messages: list[Json], item: Json, where: str) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        message = {"role": item.get("role"), "content": _content(item.get("content"), f"{where}.content")}
        if message["role"] == "assistant":
            _assistant(messages).update(message)
        else:
            messages.append(message)
    elif kind == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments") or ""}
        call = {"id": item.get("call_id"), "type": "function", "function": function}
        _assistant(messages, may_go_on=True).setdefault("tool_calls", []).append(call)
    elif kind == "function_call_output":
        output = _content(item.get("output"), f"{where}.output")
        messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": output})
    elif kind == "reasoning":
        thoughts = _unpacked(item.get("encrypted_content"))
        if thoughts:
            messages.append({"role": "assistant", "thinking_blocks": thoughts})
    else:
        raise BadRequest(f"{where}: items of type {str(kind)[:40]!r} cannot be sent to this model's provider")


def _assistant(messages: list[Json], may_go_on: bool = False) -> Json:
    """The message that an item of the model's belongs to: thoughts, then what it said, then its calls are one."""
    last = messages[-1] if messages else {}
    is_open = last.get("role") == "assistant" and (may_go_on or last.keys() == {"role", "thinking_blocks"})
    if not is_open:
        messages.append({"role": "assistant"})
    return messages[-1]


def _content(content: object, where: str) -> object:
    if content is None or isinstance(content, str):
        return content or ""
    parts = [_part(part, f"{where}[{index}]") for index, part in enumerate(objects(content))]
    is_plain = len(parts) == 1 and parts[0].keys() == {"type", "text"}
    return parts[0]["text"] if is_plain else parts


def _part(part: Json, where: str) -> Json:
    kind = part.get("type")
    if kind in _TEXTS:
        found: Json = {"type": "text", "text": str(part.get("text", ""))}
    elif kind == "refusal":
        found = {"type": "text", "text": str(part.get("refusal", ""))}
    elif kind == "input_image" and part.get("image_url"):
        found = {"type": "image_url", "image_url": {"url": part["image_url"]}}
    elif kind == "input_file" and part.get("file_data"):
        named = {"filename": part["filename"]} if part.get("filename") else {}
        found = {"type": "file", "file": {**named, "file_data": part["file_data"]}}
    else:
        raise BadRequest(
            f"{where}: parts of type {str(kind)[:40]!r} can be sent to this model's provider as bytes only"
        )
    if part.get("prompt_cache_breakpoint"):
        found["prompt_cache_breakpoint"] = part["prompt_cache_breakpoint"]
    return found


# ------------------------------------------------------------ tools and JSON answers


def _add_tools(given: Json, sent: Json) -> None:
    tools = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(objects(given.get("tools")))]
    choice = given.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        names = {tool.get("name") for tool in objects(choice.get("tools"))}
        tools = [tool for tool in tools if tool["function"]["name"] in names]
        choice = choice.get("mode", "auto")
    if not tools:
        return
    sent["tools"] = tools
    if isinstance(choice, dict) and choice.get("type") == "function":
        sent["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    elif isinstance(choice, str):
        sent["tool_choice"] = choice
    if isinstance(given.get("parallel_tool_calls"), bool):
        sent["parallel_tool_calls"] = given["parallel_tool_calls"]


def _tool(tool: Json, where: str) -> Json:
    if tool.get("type") != "function":
        raise BadRequest(
            f"{where}: tools of type {str(tool.get('type'))[:40]!r} run at OpenAI; "
            "only functions can be sent to this model's provider"
        )
    names = ("name", "description", "parameters", "strict")
    return {"type": "function", "function": {name: tool[name] for name in names if tool.get(name) is not None}}


def _add_output(given: Json, sent: Json) -> None:
    text = given.get("text")
    wanted = text.get("format") if isinstance(text, dict) else None
    if not isinstance(wanted, dict):
        return
    if wanted.get("type") == "json_schema":
        names = ("name", "description", "schema", "strict")
        described = {name: wanted[name] for name in names if wanted.get(name) is not None}
        sent["response_format"] = {"type": "json_schema", "json_schema": described}
    elif wanted.get("type") == "json_object":
        sent["response_format"] = {"type": "json_object"}
