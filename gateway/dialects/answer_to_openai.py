"""Anthropic's whole answer, and its usage, as a chat completion."""

from typing import Any

from gateway.dialects.dialect import count
from gateway.dialects.to_anthropic import OUTPUT_TOOL
from gateway.dialects.wire import Json, encode, objects

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
TIERS = {"standard": "default", "priority": "priority"}


def answer_to_openai(answer: Json, created_s: int) -> bytes:
    """A whole answer as a chat completion."""
    message, has_calls = _message(answer)
    reason = FINISH_REASONS.get(str(answer.get("stop_reason")), "stop")
    if reason == "tool_calls" and not has_calls:
        reason = "stop"  # the one tool called was the JSON answer
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    found: Json = {
        "id": answer.get("id"),
        "object": "chat.completion",
        "created": created_s,
        "model": answer.get("model"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": openai_usage(usage),
    }
    if usage.get("service_tier") in TIERS:
        found["service_tier"] = TIERS[usage["service_tier"]]
    return encode(found)


def openai_usage(usage: Json) -> Json:
    """Anthropic's usage as OpenAI counts: the prompt includes what was read from and written to the cache."""
    read = count(usage.get("cache_read_input_tokens")) or 0
    written = count(usage.get("cache_creation_input_tokens")) or 0
    prompt = (count(usage.get("input_tokens")) or 0) + read + written
    output = count(usage.get("output_tokens")) or 0
    details = usage.get("output_tokens_details")
    thinking = (count(details.get("thinking_tokens")) or 0) if isinstance(details, dict) else 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": thinking},
    }


def refusal(stop_details: Any) -> str | None:
    """What a refusal says about itself."""
    return stop_details.get("explanation") if isinstance(stop_details, dict) else None


def _message(answer: Json) -> tuple[Json, bool]:
    blocks = objects(answer.get("content"))
    written = [block.get("text", "") for block in blocks if block.get("type") == "text"]
    thoughts = [block for block in blocks if block.get("type") in ("thinking", "redacted_thinking")]
    calls = []
    for block in blocks:
        if block.get("type") != "tool_use":
            continue
        arguments = encode(block.get("input") or {}).decode()
        if block.get("name") == OUTPUT_TOOL:
            written = [arguments]  # what was said besides is no JSON
        else:
            function = {"name": block.get("name"), "arguments": arguments}
            calls.append({"id": block.get("id"), "type": "function", "function": function})
    message: Json = {
        "role": "assistant",
        "content": "".join(written) if written else None,
        "refusal": refusal(answer.get("stop_details")),
    }
    if thoughts:
        message["reasoning_content"] = "".join(block.get("thinking", "") for block in thoughts)
        message["thinking_blocks"] = thoughts
    if calls:
        message["tool_calls"] = calls
    return message, bool(calls)
