"""OpenAI's responses as a client's wire format."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.dialects.dialect import (
    FILE_TOKENS,
    IMAGE_TOKENS,
    MOST_TOOL_RUNS,
    SERVER_TOOL_TOKENS,
    TOOLS_TOKENS,
    Answered,
    Asked,
    BadRequest,
    count,
    events,
    plain,
    text,
)
from gateway.dialects.openai_family import OpenAIFamily, OpenAIHead, counted, error_type, stated
from gateway.dialects.wire import (
    Json,
    Tokens,
    attribute,
    cache_write,
    json_object,
    objects,
    read_request,
    with_fields,
)
from llmobs.pricing.tiers import asked_tier
from llmobs.pricing.upper import Apart


class _Request(OpenAIHead, kw_only=True):
    max_output_tokens: Tokens | None = None
    max_tool_calls: Any = None
    background: bool | None = None
    # Input that stands at the provider.
    previous_response_id: Any = None
    conversation: Any = None
    prompt: Any = None


_read = msgspec.json.Decoder(_Request).decode
# A line break cannot stand within a JSON text: a line that begins so is the event itself.
_LAST = re.compile(
    rb"(?:^|\n)(?:event: ?response\.(?:completed|incomplete|failed)\r?\n|"
    rb'data: ?\{ ?"type": ?"response\.(?:completed|incomplete|failed)")'
)
_TELLING = (b'"response.created"', b'"response.completed"', b'"response.incomplete"', b'"response.failed"', b'"error"')
_DESCRIBED = (b'"tools"', b'"function_call"', b'"json_schema"')
_RUNS = frozenset({"web_search_call", "file_search_call", "code_interpreter_call"})
# Tools that run at the provider, as they are named in a request (what they did, `web_search_call`, is seen).
_OWN_TOOL = re.compile(
    rb'"(?:web_search(?:_preview)?(?:_20\d\d_\d\d_\d\d)?|file_search|code_interpreter|computer(?:_use_preview)?|mcp|'
    rb'image_generation|shell)"'
)


class Responses(OpenAIFamily):
    """OpenAI's dialect of responses."""

    serves = "responses"
    operation_path = b"/responses"

    def read(self, body: bytes) -> Asked:
        request = read_request(_read, body)
        if request.background:
            raise BadRequest(
                "`background`: its answer and its bill come later and by another way; leave it out and stream instead"
            )
        names = plain(body)
        is_stored = any((request.previous_response_id, request.conversation, request.prompt))
        asked = Asked(
            model=text(request.model),
            is_stream=request.stream or False,
            most_output_tokens=request.max_output_tokens,
            choices=1,
            unseen_input_tokens=_unseen_tokens(names) + (FILE_TOKENS if is_stored else 0),
            unseen_output_tokens=0,
            cache_write=cache_write(names),
            thinks=b'"reasoning"' in names,
            wants_usage=True,  # this format always reports it
            user=text(request.user or request.safety_identifier),
            apart=_apart(body, names, request),
        )
        attribute(asked, request.metadata)
        return asked

    def for_upstream(self, body: bytes, model: str, asked: Asked) -> bytes:
        return body if model == asked.model else with_fields(body, model=model)

    def capped(self, body: bytes, most_output_tokens: int, asked: Asked) -> bytes:
        return body if asked.most_output_tokens is not None else with_fields(body, max_output_tokens=most_output_tokens)

    def answered(self, body: bytes) -> Answered | None:
        answer = json_object(body)
        if answer is None:
            return None
        if answer.get("object") == "response":
            return _answered(answer)
        return Answered(error_type=error_type(answer["error"])) if answer.get("error") is not None else None

    def streamed(self, blocks: Sequence[bytes]) -> Answered:
        found = Answered()
        for data in events(b"".join(blocks)):
            event = json_object(data) if any(name in data for name in _TELLING) else None
            if event is None:
                continue
            if event.get("type") == "error" or "type" not in event:
                found.error_type = error_type(event.get("error") or event)
            elif isinstance(event.get("response"), dict):
                found = _answered(event["response"])
        return found

    def is_last(self, block: bytes) -> bool:
        return b"response." in block and _LAST.search(block) is not None

    def shown_bytes(self, events_text: bytes) -> int:
        return sum(_delta_bytes(data) for data in events(events_text))


def _answered(answer: Json) -> Answered:
    status, incomplete = text(answer.get("status"), 64), answer.get("incomplete_details")
    reason = text(incomplete.get("reason"), 64) if isinstance(incomplete, dict) else ""
    ended = status not in ("", "in_progress", "queued", "failed")
    return Answered(
        usage=counted(answer.get("usage"), "input_tokens", "output_tokens", answer.get("service_tier"), _runs(answer)),
        stated_nanousd=stated(answer.get("usage")),
        response_id=text(answer.get("id")),
        response_model=text(answer.get("model")),
        finish_reasons=(reason or status,) if ended else (),
        error_type=error_type(answer.get("error")) if status == "failed" else "",
    )


def _runs(answer: Json) -> tuple[tuple[str, int], ...]:
    """What the provider's own tools did, as it is billed: searches (not pages opened), and containers of code."""
    output = answer.get("output")
    if not isinstance(output, list) or not any(isinstance(item, dict) and item.get("type") in _RUNS for item in output):
        return ()
    items = objects(output)
    containers = {str(item.get("container_id")) for item in items if item.get("type") == "code_interpreter_call"}
    counts = {
        "code_interpreter": len(containers),
        "file_search": sum(item.get("type") == "file_search_call" for item in items),
        "web_search": sum(item.get("type") == "web_search_call" and _is_search(item) for item in items),
    }
    return tuple((unit, number) for unit, number in counts.items() if number)


def _is_search(item: Json) -> bool:
    action = item.get("action")
    return not isinstance(action, dict) or action.get("type", "search") == "search"


def _apart(body: bytes, names: bytes, request: _Request) -> Apart | None:
    """Pictures, runs of the provider's own tools, the tier: as far as the request asks for any."""
    tier = asked_tier(request.service_tier)
    kinds = ("image_input",) if b'"input_image"' in names else ()
    units = _asked_runs(body, request.max_tool_calls) if _OWN_TOOL.search(names) else ()
    return Apart(units, kinds, tier) if tier or kinds or units else None


def _asked_runs(body: bytes, most: object) -> tuple[tuple[str, int], ...]:
    """What may be billed by the run, by the tools themselves: their names may stand elsewhere too."""
    each = count(most)
    each = MOST_TOOL_RUNS if each is None else each
    kinds = [text(tool.get("type")) for tool in objects((json_object(body) or {}).get("tools"))]
    counts = {
        "code_interpreter": kinds.count("code_interpreter"),
        "file_search": each if "file_search" in kinds else 0,
        "web_search": each if any(kind.startswith("web_search") for kind in kinds) else 0,
    }
    return tuple((unit, number) for unit, number in counts.items() if number)


def _unseen_tokens(body: bytes) -> int:
    """Names are counted wherever they stand: a text that quotes them makes the bound higher, never lower."""
    # A provider of the other format gets earlier calls, and a schema, as descriptions of tools.
    tokens = TOOLS_TOKENS if any(name in body for name in _DESCRIBED) else 0
    if b'"input_image"' in body:
        tokens += IMAGE_TOKENS * body.count(b'"input_image"')
    if b'"input_file"' in body:
        tokens += FILE_TOKENS * body.count(b'"input_file"')
    return tokens + SERVER_TOOL_TOKENS * len(_OWN_TOOL.findall(body))


def _delta_bytes(data: bytes) -> int:
    if b".delta" not in data:
        return 0
    event = json_object(data)
    if event is None:
        return len(data)  # cut in the middle: the whole of it is the bound
    delta = event.get("delta")
    return len(delta.encode("utf-8", "replace")) if isinstance(delta, str) else 0
