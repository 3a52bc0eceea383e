"""Anthropic's /messages and its counting of tokens: requests, answers and streams."""

import base64
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgspec

from llmobs.ops.simulator.answer import Answer, Choice
from llmobs.ops.simulator.asked import Asked, AskedError, criteria_of, effort_tokens, output_tokens, stops
from llmobs.ops.simulator.chat import schema_of
from llmobs.ops.simulator.content import Content, Message, has_result, text_of, tokens_of
from llmobs.ops.simulator.prompt_cache import marked
from llmobs.ops.simulator.tools import Choice as ToolChoice
from llmobs.ops.simulator.tools import Tool, ToolCall, ToolError, calls
from llmobs.ops.simulator.wire import AnthropicErrors, Chunk, encode, named_event

STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "sequence": "stop_sequence", "calls": "tool_use"}
MODES = {"auto": "auto", "any": "required", "tool": "required", "none": "none"}
LEAST_BUDGET_TOKENS = 1024  # of thinking, https://docs.anthropic.com/en/api/messages
MOST_THOUGHT = 128  # a budget is not used up


class Request(msgspec.Struct):
    model: str
    messages: list[Message]
    max_tokens: int | None = None
    system: Content = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    thinking: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None
    output_format: dict[str, Any] | None = None  # as its beta named it


_decode = msgspec.json.Decoder(Request).decode


class MessagesWire(AnthropicErrors):
    id_prefix = "msg_"

    def read(self, body: bytes) -> Asked:
        try:
            request = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise AskedError(f"the body is not a messages request: {error}") from None
        if not request.messages:
            raise AskedError("messages is empty")
        tokens, reasoning = output_tokens(request.max_tokens, _thinking_tokens(request))
        last = request.messages[-1]
        last_text = text_of(last.content)
        is_judge, criteria = criteria_of([text_of(request.system)])
        asks_tools = request.tools and not has_result(last.content)
        return Asked(
            model=request.model,
            input_tokens=tokens_of(request.system) + sum([tokens_of(message.content) for message in request.messages]),
            output_tokens=tokens,
            is_limited=request.max_tokens is not None,
            is_stream=bool(request.stream),
            criteria=criteria,
            judged=last_text if is_judge else "",
            last_text=last_text,
            calls=_calls(request, last_text) if asks_tools else (),
            schema=_schema(request),
            reasoning_tokens=reasoning,
            shows_reasoning=True,
            stop=stops(request.stop_sequences),
            prefixes=marked(body) if b'"cache_control"' in body else (),
        )

    def whole(self, answer: Answer, asked: Asked) -> bytes:
        (choice,) = answer.choices
        return encode(_message(answer, _content(choice), choice, answer.output_tokens))

    def stream(self, answer: Answer, asked: Asked) -> Iterator[Chunk]:
        (choice,) = answer.choices
        # The API, too, begins with a small number of output tokens that is not the sum.
        yield named_event("message_start", {"message": _message(answer, [], None, 1)}), 0
        for index, block in enumerate(_content(choice)):
            yield named_event("content_block_start", {"index": index, "content_block": _opened(block)}), 0
            if index == 0:
                yield named_event("ping", {}), 0
            for delta, tokens in _deltas(block, choice, index):
                yield named_event("content_block_delta", {"index": index, "delta": delta}), tokens
            yield named_event("content_block_stop", {"index": index}), 0
        ended = {"stop_reason": STOP_REASONS[choice.finish], "stop_sequence": choice.stop_sequence}
        usage = _usage(answer, answer.output_tokens)
        yield named_event("message_delta", {"delta": ended, "usage": usage}), 0
        yield named_event("message_stop", {}), 0


class CountWire(MessagesWire):
    """/messages/count_tokens: for nothing."""

    is_billed = False

    def read(self, body: bytes) -> Asked:
        return msgspec.structs.replace(super().read(body), choices=0, is_stream=False, prefixes=())

    def whole(self, answer: Answer, asked: Asked) -> bytes:
        return encode({"input_tokens": answer.input_tokens})


def _thinking_tokens(request: Request) -> int:
    thinking, effort = request.thinking, (request.output_config or {}).get("effort")
    if thinking is None or thinking.get("type") == "disabled":
        return 0
    if thinking.get("type") != "enabled":
        return effort_tokens(effort or "medium")
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int) or budget < LEAST_BUDGET_TOKENS or budget >= (request.max_tokens or 0):
        raise AskedError(f"thinking.budget_tokens is {budget}, not between {LEAST_BUDGET_TOKENS} and max_tokens")
    return MOST_THOUGHT


def _schema(request: Request) -> dict[str, Any] | None:
    wanted = request.output_format or (request.output_config or {}).get("format")
    return schema_of(wanted, "") if wanted else None


def _calls(request: Request, text: str) -> tuple[ToolCall, ...]:
    tools = [Tool(tool.get("name") or "", tool.get("input_schema") or {}) for tool in request.tools or []]
    asked = request.tool_choice or {"type": "auto"}
    mode = MODES.get(asked.get("type") or "")
    if mode is None:
        raise AskedError(f"tool_choice is {str(asked)[:100]}")
    try:
        return calls(tools, ToolChoice(mode, asked.get("name") or "", not asked.get("disable_parallel_tool_use")), text)
    except ToolError as error:
        raise AskedError(str(error)) from None


def _content(choice: Choice) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if choice.reasoning:
        thought = choice.whole_reasoning
        blocks.append({"type": "thinking", "thinking": thought, "signature": _signature(thought)})
    if choice.calls:
        return blocks + [
            {"type": "tool_use", "id": call_id, "name": call.name, "input": call.arguments}
            for call_id, call in choice.calls
        ]
    return [*blocks, {"type": "text", "text": choice.whole_text}]


def _opened(block: dict[str, Any]) -> dict[str, Any]:
    """A block as its stream begins: without what its deltas bring."""
    empty = {"thinking": "", "signature": "", "text": "", "input": {}}
    return {name: empty.get(name, value) if name != "type" else value for name, value in block.items()}


def _deltas(block: dict[str, Any], choice: Choice, index: int) -> Iterator[tuple[dict[str, Any], int]]:
    match block["type"]:
        case "thinking":
            left = block["thinking"]
            for text, tokens in choice.reasoning or []:
                yield {"type": "thinking_delta", "thinking": left[: len(text)]}, tokens
                left = left[len(text) :]
            yield {"type": "signature_delta", "signature": block["signature"]}, 0
        case "tool_use":
            call = choice.calls[index - bool(choice.reasoning)][1]
            yield {"type": "input_json_delta", "partial_json": ""}, call.tokens
            for piece in call.pieces() if call.arguments else []:
                yield {"type": "input_json_delta", "partial_json": piece}, 0
        case _:
            for text, tokens in choice.text:
                yield {"type": "text_delta", "text": text}, tokens


def _signature(thought: str) -> str:
    """Stands for the sealed original; the same for the same thought, so that a caller can tell whether it was kept."""
    return base64.b64encode(sha256(b"thought\0" + thought.encode()).digest()).decode()


def _message(answer: Answer, content: list[Any], choice: Choice | None, output: int) -> dict[str, Any]:
    return {
        "id": answer.response_id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": None if choice is None else STOP_REASONS[choice.finish],
        "stop_sequence": None if choice is None else choice.stop_sequence,
        "usage": _usage(answer, output)
        | {
            "cache_creation": {
                "ephemeral_5m_input_tokens": answer.cached.written_short,
                "ephemeral_1h_input_tokens": answer.cached.written_long,
            },
            "service_tier": "standard",
        },
    }


def _usage(answer: Answer, output: int) -> dict[str, Any]:
    cached = answer.cached
    return {
        "input_tokens": answer.input_tokens - cached.total,
        "cache_creation_input_tokens": cached.written,
        "cache_read_input_tokens": cached.read,
        "output_tokens": output,
    }
