"""OpenAI's /chat/completions: its requests, answers and streams."""

from collections.abc import Iterator
from typing import Any

import msgspec

from llmobs.ops.simulator.answer import Answer, Choice
from llmobs.ops.simulator.asked import MOST_CHOICES, Asked, AskedError, criteria_of, effort_tokens, output_tokens, stops
from llmobs.ops.simulator.content import Message, text_of, tokens_of
from llmobs.ops.simulator.prompt_cache import every_step
from llmobs.ops.simulator.tools import Choice as ToolChoice
from llmobs.ops.simulator.tools import Tool, ToolCall, ToolError, calls
from llmobs.ops.simulator.wire import Chunk, OpenAIErrors, encode

FINISH_REASONS = {"stop": "stop", "length": "length", "sequence": "stop", "calls": "tool_calls"}
ANY_JSON = {"type": "object", "properties": {"answer": {"type": "string"}}}


class StreamOptions(msgspec.Struct):
    include_usage: bool = False


class Request(msgspec.Struct):
    model: str
    messages: list[Message]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    reasoning_effort: str | None = None
    prompt_cache_key: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(Request).decode


class ChatWire(OpenAIErrors):
    id_prefix = "chatcmpl-"

    def read(self, body: bytes) -> Asked:
        try:
            request = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise AskedError(f"the body is not a chat completions request: {error}") from None
        if not request.messages:
            raise AskedError("messages is empty")
        choices = 1 if request.n is None else request.n
        if not 1 <= choices <= MOST_CHOICES:
            raise AskedError(f"n is {choices}, not between 1 and {MOST_CHOICES}")
        limit = request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens
        tokens, reasoning = output_tokens(limit, effort_tokens(request.reasoning_effort))
        last = request.messages[-1]
        last_text = text_of(last.content)
        is_judge, criteria = criteria_of(
            [text_of(m.content) for m in request.messages if m.role in ("system", "developer")]
        )
        return Asked(
            model=request.model,
            input_tokens=sum([tokens_of(message.content) for message in request.messages]),
            output_tokens=tokens,
            choices=choices,
            is_limited=limit is not None,
            is_stream=bool(request.stream),
            wants_usage=bool(request.stream_options and request.stream_options.include_usage),
            criteria=criteria,
            judged=last_text if is_judge else "",
            last_text=last_text,
            calls=_calls(request, last_text) if request.tools and last.role == "user" else (),
            schema=None if request.response_format is None else schema_of(request.response_format, "json_schema"),
            reasoning_tokens=reasoning,
            stop=stops(request.stop),
            prefixes=every_step(request.prompt_cache_key, request.model, map(_text, request.messages)),
        )

    def whole(self, answer: Answer, asked: Asked) -> bytes:
        choices = [
            {
                "index": index,
                "message": _message(choice),
                "logprobs": None,
                "finish_reason": FINISH_REASONS[choice.finish],
            }
            for index, choice in enumerate(answer.choices)
        ]
        return encode(_head(answer, "chat.completion") | {"choices": choices, "usage": _usage(answer)})

    def stream(self, answer: Answer, asked: Asked) -> Iterator[Chunk]:
        head = _head(answer, "chat.completion.chunk")
        tail = {"usage": None} if asked.wants_usage else {}

        def event(index: int, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
            return b"data: " + encode(head | {"choices": [choice]} | tail) + b"\n\n"

        for index, choice in enumerate(answer.choices):
            content = None if choice.calls else ""
            # What was thought is not shown, but billed.
            yield event(index, {"role": "assistant", "content": content, "refusal": None}), choice.reasoning_tokens
            for text, tokens in choice.text:
                yield event(index, {"content": text}), tokens
            for place, (call_id, call) in enumerate(choice.calls):
                yield event(index, {"tool_calls": [{"index": place} | _call(call_id, call, "")]}), call.tokens
                for piece in call.pieces():
                    yield event(index, {"tool_calls": [{"index": place, "function": {"arguments": piece}}]}), 0
            yield event(index, {}, FINISH_REASONS[choice.finish]), 0
        if asked.wants_usage:
            yield b"data: " + encode(head | {"choices": [], "usage": _usage(answer)}) + b"\n\n", 0
        yield b"data: [DONE]\n\n", 0


def _text(message: Message) -> str:
    return text_of(message.content)


def schema_of(wanted: dict[str, Any], holder: str) -> dict[str, Any] | None:
    """The schema that a format names, None for text; `holder` names the field that it is in, if any."""
    match wanted.get("type"):
        case "json_object":
            return ANY_JSON
        case "json_schema":
            found = (wanted.get(holder) or {}) if holder else wanted
            return dict(found.get("schema") or {})
    return None


def choice_of(asked: str | dict[str, Any] | None, is_parallel: bool | None) -> ToolChoice:
    """OpenAI's tool_choice, of either of its formats."""
    parallel = is_parallel is not False
    if isinstance(asked, dict):
        return ToolChoice("required", (asked.get("function") or asked).get("name") or "", parallel)
    return ToolChoice(asked or "auto", "", parallel)


def _calls(request: Request, text: str) -> tuple[ToolCall, ...]:
    functions = [tool.get("function") or {} for tool in request.tools or [] if tool.get("type") == "function"]
    tools = [Tool(function.get("name") or "", function.get("parameters") or {}) for function in functions]
    try:
        return calls(tools, choice_of(request.tool_choice, request.parallel_tool_calls), text)
    except ToolError as error:
        raise AskedError(str(error)) from None


def _message(choice: Choice) -> dict[str, Any]:
    content = None if choice.calls else choice.whole_text
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    if choice.calls:
        message["tool_calls"] = [_call(call_id, call, call.json) for call_id, call in choice.calls]
    return message


def _call(call_id: str, call: ToolCall, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _head(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": answer.response_id,
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": "fp_simulator",
    }


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached.read, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": answer.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
