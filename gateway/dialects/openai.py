"""OpenAI's chat completions as a client's wire format."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from gateway.dialects.dialect import (
    FILE_TOKENS,
    IMAGE_TOKENS,
    MOST_CHOICES,
    MOST_TOOL_RUNS,
    SERVER_TOOL_TOKENS,
    TOOLS_TOKENS,
    Answered,
    Asked,
    events,
    names_in,
    plain,
    text,
    text_bytes,
)
from gateway.dialects.openai_family import (
    RESEARCHING,
    OpenAIFamily,
    OpenAIHead,
    counted,
    error_type,
    is_reasoning,
    researched,
    stated,
)
from gateway.dialects.wire import WRONG, Json, Tokens, attribute, cache_write, read_fields, read_request, with_fields
from llmobs.pricing.tiers import asked_tier
from llmobs.pricing.upper import Apart
from llmobs.pricing.usage import Usage


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Request(OpenAIHead, kw_only=True):
    messages: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)]
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=MOST_CHOICES)] | None = None
    stream_options: _StreamOptions | None = None


class _Choice(msgspec.Struct):
    finish_reason: Any = None


class _Answer(msgspec.Struct):
    """Only what makes it an answer is strict: an oddity of what we read besides must not cost the caller its answer."""

    id: Any = None
    model: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    service_tier: Any = None


_read = msgspec.json.Decoder(_Request).decode
_read_answer = msgspec.json.Decoder(_Answer).decode
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_NAMES = re.compile(
    rb'"(?:tools|functions|tool_calls|json_schema|image_url|web_search_options|file_id|file_data|prediction'
    rb'|cache_control|prompt_cache_breakpoint|1h|reasoning[a-z_]*|thinking|input_audio|modalities|audio|image)(?=")'
)
# Models that search for each answer, and do not say so in their usage.
_SEARCHING = re.compile(r"-search-(?:preview|api)|^sonar-deep-research")
_DONE = re.compile(rb"(?:^|\n)data: ?\[DONE\]\r?\n")
_EVENT_END = re.compile(rb"(\r?\n\r?\n)")


class OpenAI(OpenAIFamily):
    """OpenAI's dialect of chat completions."""

    serves = "chat"
    operation_path = b"/chat/completions"

    def read(self, body: bytes) -> Asked:
        request = read_request(_read, body)
        most = max(request.max_tokens or 0, request.max_completion_tokens or 0) or None
        options, names = request.stream_options, names_in(body, _NAMES)
        is_searching = "search" in request.model and _SEARCHING.search(request.model) is not None
        asked = Asked(
            model=text(request.model),
            is_stream=request.stream or False,
            most_output_tokens=most,
            choices=request.n or 1,
            unseen_input_tokens=_unseen_tokens(names) if names else 0,
            unseen_output_tokens=_unseen_output(body, names, request.model) if names or is_searching else 0,
            cache_write=cache_write(names),
            thinks=b'"reasoning' in names or b'"thinking"' in names,
            wants_usage=bool(options and options.include_usage),
            user=text(request.user or request.safety_identifier),
            apart=_apart(names, request) if names or request.service_tier is not None or is_searching else None,
        )
        if request.metadata:
            attribute(asked, request.metadata)
        return asked

    def for_upstream(self, body: bytes, model: str, asked: Asked) -> bytes:
        changes: Json = {} if model == asked.model else {"model": model}
        if asked.is_stream and not asked.wants_usage:
            given = read_fields(body).get("stream_options") if b'"stream_options"' in plain(body) else None
            changes["stream_options"] = {**(msgspec.json.decode(given or b"null") or {}), "include_usage": True}
        return with_fields(body, **changes) if changes else body

    def capped(self, body: bytes, most_output_tokens: int, asked: Asked) -> bytes:
        if asked.most_output_tokens is not None:
            return body
        return with_fields(body, **{ceiling_field(asked.model): most_output_tokens})

    def answered(self, body: bytes) -> Answered | None:
        try:
            answer = _read_answer(body)
        except WRONG:
            return None
        if answer.error is not None:
            return Answered(error_type=error_type(answer.error))
        if answer.choices is None:
            return None
        return _answered(answer)

    def streamed(self, blocks: Sequence[bytes]) -> Answered:
        found = Answered()
        reasons: list[str] = []
        for data in events(b"".join(blocks)):
            answer = _event(data)
            if answer is None:
                continue
            if answer.error is not None:
                found.error_type = error_type(answer.error)
            found.response_id = text(answer.id) or found.response_id
            found.response_model = text(answer.model) or found.response_model
            reasons += _reasons(answer)
            # Some report the usage so far with each chunk: only what comes with or after the end is the bill's.
            if reasons or not answer.choices:
                found.usage = _counted(answer) or found.usage
                if answer.usage is not None:
                    found.stated_nanousd = stated(answer.usage)
        found.finish_reasons = tuple(reasons[:MOST_CHOICES])
        return found

    def is_last(self, block: bytes) -> bool:
        return b"[DONE]" in block and _DONE.search(block) is not None

    def without_usage(self, block: bytes) -> bytes:
        if not _USAGE.search(block):
            return block
        parts = [*_EVENT_END.split(block), b""]  # each event and what ends it
        events = zip(parts[::2], parts[1::2], strict=True)
        return b"".join(e + end for e, end in events if not (_USAGE.search(e) and _is_usage_alone(e)))

    def shown_bytes(self, events_text: bytes) -> int:
        return sum(_delta_bytes(data) for data in events(events_text))


def ceiling_field(model: str) -> str:
    """Where a model looks for its output ceiling: OpenAI's reasoning models know the new name only, others the old."""
    return "max_completion_tokens" if is_reasoning(model) else "max_tokens"


def _unseen_tokens(body: bytes) -> int:
    """Names are counted wherever they stand: a text that quotes them makes the bound higher, never lower."""
    # A provider of the other format gets earlier calls, and a schema, as descriptions of tools.
    is_described = b'"tools"' in body or b'"functions"' in body or b'"tool_calls"' in body or b'"json_schema"' in body
    tokens = TOOLS_TOKENS if is_described else 0
    if b'"web_search_options"' in body:
        tokens += SERVER_TOOL_TOKENS
    tokens += IMAGE_TOKENS * body.count(b'"image_url"')
    return tokens + FILE_TOKENS * (body.count(b'"file_id"') + body.count(b'"file_data"'))


def _event(data: bytes) -> _Answer | None:
    if not data.startswith(b"{"):
        return None
    try:
        return _read_answer(data)
    except WRONG:
        return None


def _answered(answer: _Answer) -> Answered:
    return Answered(
        usage=_counted(answer),
        response_id=text(answer.id),
        response_model=text(answer.model),
        finish_reasons=tuple(_reasons(answer)[:MOST_CHOICES]),
        stated_nanousd=stated(answer.usage),
    )


def _counted(answer: _Answer) -> Usage | None:
    runs: tuple[tuple[str, int], ...] = ()
    model = answer.model if isinstance(answer.model, str) else ""
    if "search" in model and _SEARCHING.search(model):
        runs = () if model.startswith(RESEARCHING) else (("web_search", 1),)
    found = counted(answer.usage, "prompt_tokens", "completion_tokens", answer.service_tier, runs)
    if found is not None and model.startswith(RESEARCHING):
        return researched(found, answer.usage)
    return found


def _unseen_output(body: bytes, names: bytes, model: str) -> int:
    if model.startswith(RESEARCHING):
        return SERVER_TOOL_TOKENS  # its thoughts have no ceiling
    return len(body) if b'"prediction"' in names else 0  # its rejected tokens are output


def _apart(names: bytes, request: _Request) -> Apart | None:
    """Kinds of input and output besides text, searches and the tier, as far as the request asks for any."""
    kinds = [
        kind for name, kind in ((b'"input_audio"', "audio_input"), (b'"image_url"', "image_input")) if name in names
    ]
    if b'"modalities"' in names:
        kinds += [kind for name, kind in ((b'"audio"', "audio_output"), (b'"image"', "image_output")) if name in names]
    searches = b'"web_search_options"' in names or _SEARCHING.search(request.model) is not None
    units: tuple[tuple[str, int], ...] = (("web_search", 1),) if searches else ()
    if request.model.startswith(RESEARCHING):
        units = (("citation", SERVER_TOOL_TOKENS), ("web_search", MOST_TOOL_RUNS))
    tier = asked_tier(request.service_tier)
    return Apart(units, tuple(kinds), tier) if kinds or units or tier else None


def _reasons(answer: _Answer) -> list[str]:
    return [reason for c in answer.choices or () if (reason := text(c.finish_reason, 64))]


def _is_usage_alone(event: bytes) -> bool:
    """The extra chunk: usage, and no choice (Azure's chunks without choices carry no usage)."""
    parsed = [_event(data) for data in events(event)]
    return bool(parsed) and all(a is not None and a.usage is not None and not a.choices for a in parsed)


def _delta_bytes(data: bytes) -> int:
    if not data.startswith(b"{"):
        return 0
    try:
        event = msgspec.json.decode(data)
    except WRONG:
        return len(data)  # cut in the middle: the whole of it is the bound
    choices = event.get("choices")
    if not isinstance(choices, list):
        return 0
    return sum(text_bytes(choice.get("delta")) for choice in choices if isinstance(choice, dict))
