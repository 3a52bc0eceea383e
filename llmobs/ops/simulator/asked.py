"""One request in the terms of the simulator, whatever format it came in: how much is asked, to answer how."""

from typing import Any

import msgspec

from llmobs.ops.simulator.prompt_cache import Prefix
from llmobs.ops.simulator.tools import ToolCall

DEFAULT_OUTPUT_TOKENS = 64
MOST_OUTPUT_TOKENS = 200_000  # above it the request is refused, as a provider refuses what its models cannot answer
MOST_CHOICES = 128

# How our judges' prompts begin; each criterion follows on a line of its own.
JUDGE_BEGINS = "You are a judge"
CRITERION_BEGINS = "- "

# Tokens of reasoning by the effort asked for, where no budget says it.
EFFORTS = {"none": 0, "minimal": 4, "low": 16, "medium": 32, "high": 64, "xhigh": 128, "max": 128}


class AskedError(Exception):
    """The request is not one that a provider would answer; the message says why."""


class Asked(msgspec.Struct, frozen=True):
    """`output_tokens` includes `reasoning_tokens`; `judged`: the text to judge where a judge asks, else ""."""

    model: str
    input_tokens: int
    output_tokens: int
    choices: int = 1
    is_limited: bool = True  # whether the caller said how many
    is_stream: bool = False
    wants_usage: bool = False
    criteria: tuple[str, ...] = ()
    judged: str = ""
    last_text: str = ""  # of the last message: faults may be scripted at its beginning
    calls: tuple[ToolCall, ...] = ()  # of tools, instead of text
    schema: dict[str, Any] | None = None  # the text is to be JSON of this shape
    reasoning_tokens: int = 0
    shows_reasoning: bool = False
    stop: tuple[str, ...] = ()
    prefixes: tuple[Prefix, ...] = ()  # what may be in the prompt cache
    texts: tuple[str, ...] = ()  # to embed
    dimensions: int = 0
    is_base64: bool = False


def output_tokens(limit: int | None, reasoning: int) -> tuple[int, int]:
    """How many tokens to answer in all, and how many of them reason. Raises AskedError."""
    if limit is None:
        return DEFAULT_OUTPUT_TOKENS + reasoning, reasoning
    if not 1 <= limit <= MOST_OUTPUT_TOKENS:
        raise AskedError(f"max_tokens is {limit}, not between 1 and {MOST_OUTPUT_TOKENS}")
    return limit, min(reasoning, limit // 2)


def criteria_of(systems: list[str]) -> tuple[bool, tuple[str, ...]]:
    """Whether a judge asks, and its criteria."""
    for system in systems:
        if system.startswith(JUDGE_BEGINS):
            lines = [line.strip() for line in system.splitlines()]
            return True, tuple(line[len(CRITERION_BEGINS) :] for line in lines if line.startswith(CRITERION_BEGINS))
    return False, ()


def effort_tokens(effort: str | None) -> int:
    """Raises AskedError for an effort that no provider knows."""
    if effort is None:
        return 0
    if effort not in EFFORTS:
        raise AskedError(f"the effort is {effort[:50]!r}, not one of {', '.join(EFFORTS)}")
    return EFFORTS[effort]


def stops(stop: str | list[str] | None) -> tuple[str, ...]:
    """As a request names them: one, several or none."""
    if not stop:
        return ()
    return (stop,) if isinstance(stop, str) else tuple(one for one in stop if one)
