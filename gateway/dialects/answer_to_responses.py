"""A whole chat completion, and its usage, as one of OpenAI's responses."""

from gateway.dialects.dialect import count
from gateway.dialects.openai_family import detail
from gateway.dialects.to_chat import packed
from gateway.dialects.wire import Json, encode, objects

# Finish reasons that leave a response incomplete, and what it calls them.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def answer_to_responses(answer: Json) -> bytes:
    """A whole answer as a response."""
    choice = next(iter(objects(answer.get("choices"))), {})
    message = choice.get("message") or {}
    output: list[Json] = []
    thoughts = objects(message.get("thinking_blocks"))
    said = message.get("reasoning_content") or message.get("reasoning") or ""
    if said or thoughts:
        output.append(reasoning_item(f"rs_{answer.get('id')}", said, thoughts))
    parts = [text_part(message["content"])] if message.get("content") else []
    if message.get("refusal"):
        parts.append({"type": "refusal", "refusal": message["refusal"]})
    if parts:
        output.append(message_item(f"msg_{answer.get('id')}", parts))
    for call in objects(message.get("tool_calls")):
        function = call.get("function") or {}
        output.append(call_item(call.get("id"), function.get("name"), function.get("arguments") or ""))
    usage = responses_usage(answer.get("usage"))
    found = response(answer.get("id"), answer.get("model"), answer.get("created"), output, usage)
    return encode(ended(found, choice.get("finish_reason")))


def response(response_id: object, model: object, created_s: object, output: list[Json], usage: Json | None) -> Json:
    """A completed response, as little as OpenAI's types ask for."""
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_s,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": usage,
    }


def ended(found: Json, finish_reason: object) -> Json:
    """The response as its finish reason leaves it."""
    reason = _INCOMPLETE.get(str(finish_reason))
    if reason is None:
        return found
    return {**found, "status": "incomplete", "incomplete_details": {"reason": reason}}


def responses_usage(usage: object) -> Json:
    """A chat completion's usage under a response's names; both count alike."""
    usage = usage if isinstance(usage, dict) else {}
    given, output = count(usage.get("prompt_tokens")) or 0, count(usage.get("completion_tokens")) or 0
    return {
        "input_tokens": given,
        "input_tokens_details": {
            "cached_tokens": detail(usage, "prompt_tokens_details", "cached_tokens"),
            "cache_write_tokens": detail(usage, "prompt_tokens_details", "cache_write_tokens"),
        },
        "output_tokens": output,
        "output_tokens_details": {
            "reasoning_tokens": detail(usage, "completion_tokens_details", "reasoning_tokens"),
        },
        "total_tokens": given + output,
    }


def text_part(text: str) -> Json:
    """A text in a message."""
    return {"type": "output_text", "text": text, "annotations": []}


def message_item(item_id: str, parts: list[Json]) -> Json:
    """A message of the output."""
    return {"id": item_id, "type": "message", "role": "assistant", "status": "completed", "content": parts}


def call_item(call_id: object, name: object, arguments: str) -> Json:
    """A function call of the output."""
    found = {"id": f"fc_{call_id}", "type": "function_call", "call_id": call_id, "name": name}
    return {**found, "arguments": arguments, "status": "completed"}


def reasoning_item(item_id: str, said: str, thoughts: list[Json]) -> Json:
    """A thought of the output; signed ones can be sent back."""
    summary = [{"type": "summary_text", "text": said}] if said else []
    found: Json = {"id": item_id, "type": "reasoning", "summary": summary}
    return {**found, "encrypted_content": packed(thoughts)} if thoughts else found
