"""OpenAI's /responses: its requests, answers and the events of its streams.

Each item of the output is added, filled piece by piece and done; events are numbered from 0.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from llmobs.ops.simulator.answer import Answer, Choice
from llmobs.ops.simulator.asked import Asked, AskedError, criteria_of, effort_tokens, output_tokens
from llmobs.ops.simulator.chat import choice_of, schema_of
from llmobs.ops.simulator.content import Content, text_of, tokens_of
from llmobs.ops.simulator.prompt_cache import every_step
from llmobs.ops.simulator.tools import Tool, ToolCall, ToolError, calls
from llmobs.ops.simulator.wire import Chunk, OpenAIErrors, encode, named_event

Event = tuple[str, dict[str, Any], int]  # name, data, tokens


class Item(msgspec.Struct):
    """A message, a tool's call or its result, or what was reasoned."""

    type: str = "message"
    role: str = ""
    content: Content = None
    output: Content = None  # of a tool


class Reasoning(msgspec.Struct):
    effort: str | None = None
    summary: str | None = None


class Request(msgspec.Struct):
    model: str
    input: str | list[Item]
    instructions: str | None = None
    max_output_tokens: int | None = None
    stream: bool | None = None
    reasoning: Reasoning | None = None
    prompt_cache_key: str | None = None
    text: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None


_decode = msgspec.json.Decoder(Request).decode

# What the answer repeats of its request.
REPEATED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


class ResponsesWire(OpenAIErrors):
    id_prefix = "resp_"

    def read(self, body: bytes) -> Asked:
        try:
            request = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise AskedError(f"the body is not a responses request: {error}") from None
        items = [Item(role="user", content=request.input)] if isinstance(request.input, str) else request.input
        if not items:
            raise AskedError("input is empty")
        reasoning = request.reasoning or Reasoning()
        tokens, reasoned = output_tokens(request.max_output_tokens, effort_tokens(reasoning.effort))
        last, instructions = items[-1], request.instructions or ""
        last_text = text_of(last.output if last.content is None else last.content)
        systems = [instructions, *(text_of(item.content) for item in items if item.role in ("system", "developer"))]
        is_judge, criteria = criteria_of(systems)
        return Asked(
            model=request.model,
            input_tokens=tokens_of(instructions) + sum(tokens_of(i.content) + tokens_of(i.output) for i in items),
            output_tokens=tokens,
            is_limited=request.max_output_tokens is not None,
            is_stream=bool(request.stream),
            criteria=criteria,
            judged=last_text if is_judge else "",
            last_text=last_text,
            calls=_calls(request, last_text) if request.tools and last.role == "user" else (),
            schema=schema_of((request.text or {}).get("format") or {}, ""),
            reasoning_tokens=reasoned,
            shows_reasoning=reasoning.summary is not None,
            prefixes=every_step(request.prompt_cache_key, request.model, _texts(instructions, items)),
        )

    def whole(self, answer: Answer, asked: Asked) -> bytes:
        return encode(_response(answer, [item for item, _ in _items(answer, asked)]))

    def stream(self, answer: Answer, asked: Asked) -> Iterator[Chunk]:
        for number, (name, data, tokens) in enumerate(_events(answer, asked)):
            yield named_event(name, {"sequence_number": number} | data), tokens


def _events(answer: Answer, asked: Asked) -> Iterator[Event]:
    begun = _response(answer, None)
    yield "response.created", {"response": begun}, 0
    yield "response.in_progress", {"response": begun}, 0
    items = _items(answer, asked)
    for index, (item, opened) in enumerate(items):
        # What was thought and is not shown is billed all the same.
        hidden = answer.reasoning_tokens if item["type"] == "reasoning" and not item["summary"] else 0
        yield "response.output_item.added", {"output_index": index, "item": opened}, hidden
        at = {"item_id": item["id"], "output_index": index}
        for name, data, tokens in _filling(item, answer.choices[0], index):
            yield f"response.{name}", at | data, tokens
        yield "response.output_item.done", {"output_index": index, "item": item}, 0
    whole = _response(answer, [item for item, _ in items])
    yield f"response.{whole['status']}", {"response": whole}, 0


def _filling(item: dict[str, Any], choice: Choice, index: int) -> Iterator[Event]:
    match item["type"]:
        case "reasoning":
            yield from _reasoning(item, choice)
        case "function_call":
            call = choice.calls[index - bool(choice.reasoning)][1]
            for place, piece in enumerate(call.pieces()):
                yield "function_call_arguments.delta", {"delta": piece}, 0 if place else call.tokens
            yield "function_call_arguments.done", {"name": call.name, "arguments": item["arguments"]}, 0
        case _:
            yield from _text(item, choice)


def _text(item: dict[str, Any], choice: Choice) -> Iterator[Event]:
    (part,) = item["content"]
    at = {"content_index": 0}
    yield "content_part.added", at | {"part": part | {"text": ""}}, 0
    for text, tokens in choice.text:
        yield "output_text.delta", at | {"delta": text, "logprobs": []}, tokens
    yield "output_text.done", at | {"text": part["text"], "logprobs": []}, 0
    yield "content_part.done", at | {"part": part}, 0


def _reasoning(item: dict[str, Any], choice: Choice) -> Iterator[Event]:
    """Shown only if a summary was asked for."""
    for index, part in enumerate(item["summary"]):
        at = {"summary_index": index}
        yield "reasoning_summary_part.added", at | {"part": part | {"text": ""}}, 0
        for text, tokens in choice.reasoning or []:
            yield "reasoning_summary_text.delta", at | {"delta": text}, tokens
        yield "reasoning_summary_text.done", at | {"text": part["text"]}, 0
        yield "reasoning_summary_part.done", at | {"part": part}, 0


def _items(answer: Answer, asked: Asked) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The items of the output, each whole and as it begins."""
    (choice,) = answer.choices
    made = answer.response_id.removeprefix("resp_")
    items: list[tuple[dict[str, Any], dict[str, Any]]] = []
    if choice.reasoning:
        thought = "".join(text for text, _ in choice.reasoning)
        summary = [{"type": "summary_text", "text": thought}] if asked.shows_reasoning else []
        item = {"id": f"rs_{made}", "type": "reasoning", "summary": summary}
        items.append((item, item | {"summary": []}))
    for call_id, call in choice.calls:
        item = {"id": f"fc_{call_id}", "type": "function_call", "status": "completed", "call_id": call_id}
        item |= {"name": call.name, "arguments": call.json}
        items.append((item, item | {"arguments": "", "status": "in_progress"}))
    if not choice.calls:
        status = "completed" if choice.finish != "length" else "incomplete"
        part = {"type": "output_text", "text": choice.whole_text, "annotations": [], "logprobs": []}
        message = {"id": f"msg_{made}", "type": "message", "status": status, "role": "assistant", "content": [part]}
        items.append((message, message | {"status": "in_progress", "content": []}))
    return items


def _response(answer: Answer, output: list[dict[str, Any]] | None) -> dict[str, Any]:
    """As it ends; without an output as it begins."""
    is_cut = output is not None and answer.choices[0].finish == "length"
    return REPEATED | {
        "id": answer.response_id,
        "object": "response",
        "created_at": answer.created,
        "status": "in_progress" if output is None else "incomplete" if is_cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "model": answer.model,
        "output": output or [],
        "usage": None if output is None else _usage(answer),
    }


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {"cached_tokens": answer.cached.read, "cache_write_tokens": 0},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }


def _texts(instructions: str, items: list[Item]) -> Iterator[str]:
    yield instructions
    for item in items:
        yield text_of(item.content) + text_of(item.output)


def _calls(request: Request, text: str) -> tuple[ToolCall, ...]:
    functions = [tool for tool in request.tools or [] if tool.get("type") == "function"]
    tools = [Tool(tool.get("name") or "", tool.get("parameters") or {}) for tool in functions]
    try:
        return calls(tools, choice_of(request.tool_choice, request.parallel_tool_calls), text)
    except ToolError as error:
        raise AskedError(str(error)) from None
