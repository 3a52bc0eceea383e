"""Reads a request of either wire format: how many words were asked, how many to answer, and how."""

from dataclasses import dataclass

import msgspec

DEFAULT_OUTPUT_TOKENS = 64
MOST_OUTPUT_TOKENS = 200_000  # above it the request is refused, as a provider refuses what its models cannot answer
MOST_CHOICES = 128

# How our judges' prompts begin; each criterion follows on a line of its own.
JUDGE_BEGINS = "You are a judge"
CRITERION_BEGINS = "- "


class AskedError(Exception):
    """The request is not one that a provider would answer; the message says why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request in the terms of the simulator. `judged`: the text to judge where a judge asks, else ""."""

    model: str
    input_tokens: int
    output_tokens: int
    choices: int = 1
    is_stream: bool = False
    wants_usage: bool = False
    criteria: tuple[str, ...] = ()
    judged: str = ""
    last_text: str = ""  # of the last message: faults may be scripted at its beginning


class Part(msgspec.Struct):
    """A content part or block: text, or a tool's result with content of its own."""

    type: str = ""
    text: str = ""
    content: "str | list[Part] | None" = None


class Message(msgspec.Struct):
    content: str | list[Part] | None = None
    role: str = ""


class StreamOptions(msgspec.Struct):
    include_usage: bool = False


class OpenAIRequest(msgspec.Struct):
    model: str
    messages: list[Message]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None


class AnthropicRequest(msgspec.Struct):
    model: str
    messages: list[Message]
    max_tokens: int | None = None
    system: str | list[Part] | None = None
    stream: bool | None = None


_openai = msgspec.json.Decoder(OpenAIRequest)
_anthropic = msgspec.json.Decoder(AnthropicRequest)


def read_openai(body: bytes) -> Asked:
    """A request to /chat/completions. Raises AskedError."""
    try:
        request = _openai.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise AskedError(f"the body is not a chat completions request: {error}") from None
    limit = request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens
    choices = 1 if request.n is None else request.n
    if not 1 <= choices <= MOST_CHOICES:
        raise AskedError(f"n is {choices}, not between 1 and {MOST_CHOICES}")
    systems = [_text(m.content) for m in request.messages if m.role in ("system", "developer")]
    return _asked(
        request.model,
        request.messages,
        systems,
        sum(len(_text(m.content).split()) for m in request.messages),
        limit,
        choices=choices,
        is_stream=bool(request.stream),
        wants_usage=bool(request.stream_options and request.stream_options.include_usage),
    )


def read_anthropic(body: bytes) -> Asked:
    """A request to /messages. Raises AskedError."""
    try:
        request = _anthropic.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise AskedError(f"the body is not a messages request: {error}") from None
    system = _text(request.system)
    words = len(system.split()) + sum(len(_text(m.content).split()) for m in request.messages)
    return _asked(request.model, request.messages, [system], words, request.max_tokens, is_stream=bool(request.stream))


def _asked(
    model: str,
    messages: list[Message],
    systems: list[str],
    words: int,
    limit: int | None,
    *,
    choices: int = 1,
    is_stream: bool = False,
    wants_usage: bool = False,
) -> Asked:
    if not messages:
        raise AskedError("messages is empty")
    output_tokens = DEFAULT_OUTPUT_TOKENS if limit is None else limit
    if not 1 <= output_tokens <= MOST_OUTPUT_TOKENS:
        raise AskedError(f"max_tokens is {output_tokens}, not between 1 and {MOST_OUTPUT_TOKENS}")
    rubric = next((system for system in systems if system.startswith(JUDGE_BEGINS)), "")
    lines = [line.strip() for line in rubric.splitlines()]
    last_text = _text(messages[-1].content)
    return Asked(
        model=model,
        input_tokens=words,
        output_tokens=output_tokens,
        choices=choices,
        is_stream=is_stream,
        wants_usage=wants_usage,
        criteria=tuple(line[len(CRITERION_BEGINS) :] for line in lines if line.startswith(CRITERION_BEGINS)),
        judged=last_text if rubric else "",
        last_text=last_text,
    )


def _text(content: str | list[Part] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text if part.content is None else _text(part.content) for part in content)
