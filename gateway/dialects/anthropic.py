"""Anthropic's messages as a client's wire format."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from gateway.dialects.dialect import (
    FILE_TOKENS,
    IMAGE_TOKENS,
    MOST_OUTPUT_TOKENS,
    MOST_TOOL_RUNS,
    SERVER_TOOL_TOKENS,
    TOOLS_TOKENS,
    Answered,
    Asked,
    count,
    events,
    names_in,
    text,
    text_bytes,
)
from gateway.dialects.wire import (
    WRONG,
    Head,
    attribute,
    cache_write,
    json_object,
    objects,
    read_request,
    with_fields,
)
from llmobs.pricing.tiers import FAST, asked_tier, tier_name
from llmobs.pricing.upper import Apart
from llmobs.pricing.usage import Usage


class _Request(Head, kw_only=True):
    messages: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)]
    max_tokens: Annotated[int, msgspec.Meta(ge=0, le=MOST_OUTPUT_TOKENS)]  # 0: only fill the prompt cache
    service_tier: Any = None
    speed: Any = None


class _Answer(msgspec.Struct):
    """A whole answer (`type` message or error), also what `message_start` carries. What we read besides is not strict:
    its oddity must not cost the caller its answer.
    """

    type: str | None = None
    id: Any = None
    model: Any = None
    stop_reason: Any = None
    usage: Any = None
    error: Any = None


class _Delta(msgspec.Struct):
    stop_reason: Any = None


class _Event(msgspec.Struct):
    """Any event, as far as it tells of the answer as a whole."""

    type: str | None = None
    message: _Answer | None = None
    delta: _Delta | None = None
    usage: Any = None
    error: Any = None


_read = msgspec.json.Decoder(_Request).decode
_read_answer = msgspec.json.Decoder(_Answer).decode
_read_event = msgspec.json.Decoder(_Event).decode
_TELLING = (b'"message_start"', b'"message_delta"', b'"error"')
_STOP = re.compile(rb"(?:^|\n)event: ?message_stop\r?\n")
_DELTA_TEXTS = ("text", "thinking", "partial_json", "signature")
# Tools that the provider runs itself are named with a date; those it only describes to the model are not many tokens.
_NAMES = re.compile(
    rb'"(?:tools|json_schema|image|document|file_id|mcp_servers|cache_control|prompt_cache_breakpoint|1h|thinking'
    rb'|[a-z_]+_20\d{6})(?=")'
)
_OWN_TOOL = re.compile(rb'"([a-z_]+)_20\d{6}"')
_DESCRIBED_TOOLS = frozenset({b"bash", b"text_editor", b"computer", b"memory"})


class Anthropic:
    """Anthropic's dialect of messages."""

    name = "anthropic"
    serves = "messages"
    operation_name = "chat"
    operation_path = b"/v1/messages"

    def read(self, body: bytes) -> Asked:
        request = read_request(_read, body)
        return asked_of(body, request, request.max_tokens)

    def for_upstream(self, body: bytes, model: str, asked: Asked) -> bytes:
        return body if model == asked.model else with_fields(body, model=model)

    def capped(self, body: bytes, most_output_tokens: int, asked: Asked) -> bytes:
        return body  # this format demands a ceiling

    def streaming(self, body: bytes, is_stream: bool) -> bytes:
        return with_fields(body, stream=is_stream or None)

    def may_write_cache(self, model: str) -> bool:
        return False  # only when asked

    def may_think(self, model: str) -> bool:
        return False  # only when asked

    def credential_headers(self, credential: str) -> bytes:
        return b"x-api-key: %s\r\n" % credential.encode() if credential else b""

    def answered(self, body: bytes) -> Answered | None:
        try:
            answer = _read_answer(body)
        except WRONG:
            return None
        if answer.type == "error" or answer.error is not None:
            return Answered(error_type=_error_type(answer.error))
        if answer.type != "message":
            return None
        return Answered(
            usage=_usage([answer.usage]),
            response_id=text(answer.id),
            response_model=text(answer.model),
            finish_reasons=_reasons(answer.stop_reason),
        )

    def streamed(self, blocks: Sequence[bytes]) -> Answered:
        found = Answered()
        usages: list[object] = []
        is_final = False
        for data in events(b"".join(blocks)):
            event = _event(data)
            if event is None:
                continue
            if event.message is not None:
                found.response_id, found.response_model = text(event.message.id), text(event.message.model)
                usages.append(event.message.usage)
            if event.type == "message_delta":
                usages.append(event.usage)
                is_final = True
                if event.delta is not None:
                    found.finish_reasons = _reasons(event.delta.stop_reason) or found.finish_reasons
            if event.type == "error":
                found.error_type = _error_type(event.error)
        # The output count at the beginning is a placeholder: without a message_delta the usage is not known.
        found.usage = _usage(usages) if is_final else None
        return found

    def is_last(self, block: bytes) -> bool:
        # A line break cannot stand within a JSON text: a line that begins so is the event itself.
        return b"message_stop" in block and _STOP.search(block) is not None

    def without_usage(self, block: bytes) -> bytes:
        return block

    def shown_bytes(self, events_text: bytes) -> int:
        return sum(_delta_bytes(data) for data in events(events_text))


def asked_of(body: bytes, request: Head, most_output_tokens: int) -> Asked:
    """What a request of Anthropic's family asks for."""
    names = names_in(body, _NAMES)
    asked = Asked(
        model=text(request.model),
        is_stream=request.stream or False,
        most_output_tokens=most_output_tokens,
        choices=1,
        unseen_input_tokens=_unseen_tokens(names) if names else 0,
        unseen_output_tokens=0,
        cache_write=cache_write(names),
        thinks=b'"thinking"' in names,
        wants_usage=True,  # this format always reports it
    )
    if isinstance(request, _Request):
        asked.apart = _apart(body, names, request)
    attribute(asked, request.metadata)
    return asked


def _apart(body: bytes, names: bytes, request: _Request) -> Apart | None:
    """Pictures, web searches and the tier, as far as the request asks for any."""
    tier = FAST if request.speed == FAST else asked_tier(request.service_tier)
    kinds = ("image_input",) if b'"image"' in names else ()
    units = _searches(body) if b'"web_search_20' in names else ()
    return Apart(units, kinds, tier) if tier or kinds or units else None


def _searches(body: bytes) -> tuple[tuple[str, int], ...]:
    tools = objects((json_object(body) or {}).get("tools"))
    most = [count(tool.get("max_uses")) for tool in tools if text(tool.get("type")).startswith("web_search_20")]
    number = sum(MOST_TOOL_RUNS if each is None else each for each in most)
    return (("web_search", number),) if number else ()


def _unseen_tokens(body: bytes) -> int:
    """Names are counted wherever they stand: a text that quotes them makes the bound higher, never lower."""
    tokens = TOOLS_TOKENS if b'"tools"' in body or b'"json_schema"' in body else 0
    if b'"image"' in body:
        tokens += IMAGE_TOKENS * body.count(b'"image"')
    if b'"document"' in body or b'"file_id"' in body:
        tokens += FILE_TOKENS * max(body.count(b'"document"'), body.count(b'"file_id"'))
    if b"_20" in body:  # a tool of the provider's own
        tokens += sum(
            TOOLS_TOKENS if name in _DESCRIBED_TOOLS else SERVER_TOOL_TOKENS for name in _OWN_TOOL.findall(body)
        )
    return tokens + SERVER_TOOL_TOKENS * body.count(b'"mcp_servers"')


def _event(data: bytes) -> _Event | None:
    if not any(name in data for name in _TELLING):
        return None
    try:
        return _read_event(data)
    except WRONG:
        return None


def _usage(usages: Sequence[object]) -> Usage | None:
    """Anthropic's input excludes cached tokens. Later numbers are of the whole answer so far, and replace earlier.

    None: input or output is not told.
    """
    known = [usage for usage in usages if isinstance(usage, dict)]
    given, output = _last(known, "input_tokens"), _last(known, "output_tokens")
    if given is None or output is None:
        return None
    created = _last(known, "cache_creation_input_tokens") or 0
    parts = _inner(known, "cache_creation")
    one_hour = min(_last(parts, "ephemeral_1h_input_tokens") or 0, created)
    searches = _last(_inner(known, "server_tool_use"), "web_search_requests")
    return Usage(
        uncached_input=given,
        cache_read=_last(known, "cache_read_input_tokens") or 0,
        cache_write_5m=created - one_hour,
        cache_write_1h=one_hour,
        output=output,
        reasoning=min(_last(_inner(known, "output_tokens_details"), "thinking_tokens") or 0, output),
        units=(("web_search", searches),) if searches else (),
        tier=_tier(known),
    )


def _tier(usages: Sequence[dict[str, Any]]) -> str:
    """The tier that answered; fast mode is told apart from it."""
    if any(usage.get("speed") == FAST for usage in usages):
        return FAST
    return tier_name(next((given for usage in reversed(usages) if (given := usage.get("service_tier"))), None))


def _last(usages: Sequence[dict[str, Any]], name: str) -> int | None:
    return next((number for usage in reversed(usages) if (number := count(usage.get(name))) is not None), None)


def _inner(usages: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [usage[name] for usage in usages if isinstance(usage.get(name), dict)]


def _reasons(reason: object) -> tuple[str, ...]:
    return (text(reason, 64),) if text(reason, 64) else ()


def _error_type(error: object) -> str:
    return (text(error.get("type"), 100) if isinstance(error, dict) else "") or "provider_error"


def _delta_bytes(data: bytes) -> int:
    if not data.startswith(b"{"):
        return 0
    try:
        event = msgspec.json.decode(data)
    except WRONG:
        return len(data)  # cut in the middle: the whole of it is the bound
    delta = event.get("delta")
    written = [delta[name] for name in _DELTA_TEXTS if name in delta] if isinstance(delta, dict) else []
    return text_bytes(written) + text_bytes(event.get("content_block"))
