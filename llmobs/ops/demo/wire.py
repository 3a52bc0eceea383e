"""Requests as the official SDKs put them on the wire (openai 3.52, anthropic 2.11: headers and order of fields)."""

import platform

import msgspec

from llmobs.ops.demo.plan import CODE_FEATURE, Call
from llmobs.ops.simulator.words import Words

OPENAI_VERSION, ANTHROPIC_VERSION, ANTHROPIC_API = "3.52.0", "2.11.0", "2026-10-21"

# From so many words on a prompt begins with a system message and a sentence; below it is filler alone.
LEAST_WORDS_TO_FRAME = 40

SYSTEMS = {
    "support": "You answer customers of Atlas: be friendly, be brief, and name the next step.",
    "search": "You answer from the documents given. Say so when they do not hold the answer.",
    CODE_FEATURE: "You complete source code. Answer with code alone, in the style of the file.",
}
OPENINGS = {
    "support": "A customer writes about case {unique}: why has this not been solved yet? The history follows.",
    "search": "Question {unique}: what do these documents say about it, and which of them should I read first?",
    CODE_FEATURE: "Complete the function at mark {unique} of the file below; its tests and its callers follow.",
}

_encode = msgspec.json.Encoder().encode


class Prompts:
    """Makes prompts of an exact number of words, no two alike: each holds its call's own mark."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._words = Words(seed=1)

    def prompt(self, call: Call) -> tuple[str, str]:
        """The system message ("" for short prompts) and the user's; together exactly `call.input_tokens` words."""
        unique = f"{self._run}-{call.number}"
        start = call.number * 7919  # a prime: neighbours begin at different places of the pool
        if call.input_tokens < LEAST_WORDS_TO_FRAME:
            return "", f"{unique} {self._words.run(start, call.input_tokens - 1)}"[
                :-1
            ] if call.input_tokens > 1 else unique
        system, opening = SYSTEMS[call.feature], OPENINGS[call.feature].format(unique=unique)
        rest = call.input_tokens - len(system.split()) - len(opening.split())
        return system, f"{opening} {self._words.run(start, rest)[:-1]}"


class Wire:
    """Whole HTTP requests for one gateway, `keys` by tenant."""

    def __init__(self, host: str, keys: dict[str, str], prompts: Prompts) -> None:
        self._prompts = prompts
        self._heads = {
            (dialect, tenant): _head(dialect, host, key) for tenant, key in keys.items() for dialect in _PATHS
        }

    def request(self, call: Call) -> bytes:
        """The bytes to send."""
        system, user = self._prompts.prompt(call)
        body = (_openai_body if call.dialect == "openai" else _anthropic_body)(call, system, user)
        headers = (
            f"x-llmobs-feature: {call.feature}\r\nx-llmobs-user: {call.user}\r\nx-llmobs-session: {call.session}\r\n"
        )
        if call.is_stream:
            headers += "x-llmobs-stream-cost: 1\r\n"
        head = self._heads[call.dialect, call.tenant]
        return b"%s%scontent-length: %d\r\n\r\n%s" % (head, headers.encode(), len(body), body)


_PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}


def _openai_body(call: Call, system: str, user: str) -> bytes:
    body: dict[str, object] = {"model": call.route or call.model}
    if call.is_stream:
        body["stream"] = True
    body["messages"] = ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": user}]
    body["max_tokens"] = call.output_tokens
    if call.wants_usage:
        body["stream_options"] = {"include_usage": True}
    return _encode(body)


def _anthropic_body(call: Call, system: str, user: str) -> bytes:
    body: dict[str, object] = {"max_tokens": call.output_tokens, "messages": [{"role": "user", "content": user}]}
    body["model"] = call.route or call.model
    if call.is_stream:
        body["stream"] = True
    if system:
        body["system"] = system
    return _encode(body)


def _head(dialect: str, host: str, key: str) -> bytes:
    if dialect == "openai":
        own = [f"user-agent: AsyncOpenAI/Python {OPENAI_VERSION}", f"authorization: Bearer {key}"]
        version = OPENAI_VERSION
    else:
        own = [f"user-agent: AsyncAnthropic/Python {ANTHROPIC_VERSION}", f"authorization: Bearer {key}"]
        own += [f"anthropic-version: {ANTHROPIC_API}", "x-stainless-timeout: 600"]
        version = ANTHROPIC_VERSION
    lines = [
        f"POST {_PATHS[dialect]} HTTP/1.1",
        f"host: {host}",
        "accept-encoding: gzip, deflate",
        "connection: keep-alive",
        "accept: application/json",
        "content-type: application/json",
        *own,
        "x-stainless-lang: python",
        f"x-stainless-package-version: {version}",
        "x-stainless-os: Linux",
        "x-stainless-arch: x64",
        "x-stainless-runtime: CPython",
        f"x-stainless-runtime-version: {platform.python_version()}",
        "x-stainless-async: async:asyncio",
        "x-stainless-retry-count: 0",
        "x-stainless-read-timeout: 600",
    ]
    return "".join(f"{line}\r\n" for line in lines).encode()
