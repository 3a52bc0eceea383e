"""A whole chat completion, and its usage, as Anthropic's message."""

import msgspec

from gateway.dialects.dialect import count
from gateway.dialects.openai_family import detail
from gateway.dialects.wire import WRONG, Json, encode, objects

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def answer_to_anthropic(answer: Json) -> bytes:
    """A whole answer as Anthropic's message."""
    choice = next(iter(objects(answer.get("choices"))), {})
    content = _content(choice.get("message") or {})
    has_calls = any(block["type"] == "tool_use" for block in content)
    return encode(
        {
            "id": answer.get("id"),
            "type": "message",
            "role": "assistant",
            "model": answer.get("model"),
            "content": content,
            "stop_reason": stop_reason(choice.get("finish_reason"), has_calls),
            "stop_sequence": None,
            "usage": anthropic_usage(answer.get("usage")),
        }
    )


def stop_reason(finish_reason: object, has_calls: bool) -> str:
    """Some servers say `stop` of an answer that calls tools."""
    reason = STOP_REASONS.get(str(finish_reason), "end_turn")
    return "tool_use" if has_calls and reason == "end_turn" else reason


def anthropic_usage(usage: object) -> Json:
    """OpenAI's usage as Anthropic counts: its input leaves out what was read from and written to the cache."""
    usage = usage if isinstance(usage, dict) else {}
    prompt = count(usage.get("prompt_tokens")) or 0
    read = min(detail(usage, "prompt_tokens_details", "cached_tokens"), prompt)
    written = min(detail(usage, "prompt_tokens_details", "cache_write_tokens"), prompt - read)
    found: Json = {
        "input_tokens": prompt - read - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": count(usage.get("completion_tokens")) or 0,
    }
    reasoning = detail(usage, "completion_tokens_details", "reasoning_tokens")
    if reasoning:
        found["output_tokens_details"] = {"thinking_tokens": reasoning}
    return found


def arguments(given: object) -> Json:
    """A call's arguments as an input; what a model wrote wrongly is kept under a name that says so."""
    try:
        found = msgspec.json.decode(given) if isinstance(given, str) and given.strip() else given
    except WRONG:
        found = given
    if isinstance(found, dict):
        return found
    return {"invalid_json": given} if found else {}


def _content(message: Json) -> list[Json]:
    blocks: list[Json] = []
    thoughts = objects(message.get("thinking_blocks"))
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if thoughts:
        blocks += thoughts
    elif isinstance(reasoning, str) and reasoning:
        blocks.append({"type": "thinking", "thinking": reasoning, "signature": ""})
    for text in (_text(message.get("content")), message.get("refusal")):
        if isinstance(text, str) and text:
            blocks.append({"type": "text", "text": text})
    for call in objects(message.get("tool_calls")):
        function = call.get("function") or {}
        blocks.append(
            {
                "type": "tool_use",
                "id": call.get("id"),
                "name": function.get("name"),
                "input": arguments(function.get("arguments")),
            }
        )
    return blocks


def _text(content: object) -> object:
    """Some servers answer in parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in objects(content))
    return content
