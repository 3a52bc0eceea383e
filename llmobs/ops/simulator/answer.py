"""Makes an answer: exactly as many words as were asked for, or a tool's call, a verdict, JSON by a schema."""

import json
import secrets
import time
from dataclasses import dataclass
from itertools import count
from random import Random

from llmobs.ops.simulator.asked import MOST_OUTPUT_TOKENS, Asked
from llmobs.ops.simulator.instance import instance
from llmobs.ops.simulator.prompt_cache import NOTHING, Cached, PromptCache
from llmobs.ops.simulator.tools import ToolCall
from llmobs.ops.simulator.verdict import verdict
from llmobs.ops.simulator.words import POOL_WORDS, Words

TOKENS_PER_CHUNK = 10

# An odd stride through the pool of words: answers of one process are not alike until all beginnings were used.
STRIDE = 6_151

Chunks = list[tuple[str, int]]  # of a text: each with its words


@dataclass(slots=True)
class Choice:
    """One answer to the request: text, or calls of tools (each with its id); before either, reasoning."""

    text: Chunks
    calls: tuple[tuple[str, ToolCall], ...] = ()
    reasoning: Chunks | None = None
    finish: str = "stop"  # stop, length, sequence, calls
    stop_sequence: str | None = None

    @property
    def whole_text(self) -> str:
        return "".join(text for text, _ in self.text)

    @property
    def tokens(self) -> int:
        calls = sum(call.tokens for _, call in self.calls) if self.calls else 0
        return sum(tokens for _, tokens in self.text) + calls + self.reasoning_tokens

    @property
    def reasoning_tokens(self) -> int:
        return sum(tokens for _, tokens in self.reasoning) if self.reasoning else 0

    @property
    def whole_reasoning(self) -> str:
        return "".join(text for text, _ in self.reasoning or []).rstrip()


@dataclass(slots=True)
class Answer:
    response_id: str
    model: str
    input_tokens: int
    cached: Cached
    choices: list[Choice]
    output_tokens: int
    created: int

    @property
    def reasoning_tokens(self) -> int:
        return sum(choice.reasoning_tokens for choice in self.choices)


class Answers:
    """Makes answers with ids of this process."""

    def __init__(self) -> None:
        self._words = Words()
        self._cache = PromptCache()
        self._nonce = secrets.token_hex(6)
        self._numbers = count()
        self._start = Random(self._nonce).randrange(POOL_WORDS)  # noqa: S311 - filler, not secrets

    def new_id(self, prefix: str) -> str:
        """An id that no other answer has, of this process or another."""
        return f"{prefix}{self._nonce}{next(self._numbers):012x}"

    def answer(self, asked: Asked, id_prefix: str, call_id_prefix: str) -> Answer:
        now = time.time()
        cached = self._cache.take(asked.prefixes, now) if asked.prefixes else NOTHING
        choices = [self._choice(asked, call_id_prefix) for _ in range(asked.choices)]
        # A call's arguments may be more words than were allowed: what is billed never is.
        tokens = min(sum(choice.tokens for choice in choices), asked.output_tokens * asked.choices)
        if not asked.is_limited:
            tokens = sum(choice.tokens for choice in choices)
        model, input_tokens = asked.model, asked.input_tokens
        return Answer(self.new_id(id_prefix), model, input_tokens, cached, choices, tokens, int(now))

    def _choice(self, asked: Asked, call_id_prefix: str) -> Choice:
        reasoning = self._run(asked.reasoning_tokens, asked.is_stream) if asked.reasoning_tokens else None
        if asked.calls:
            calls = tuple((self.new_id(call_id_prefix), call) for call in asked.calls)
            return Choice([], calls, reasoning, "calls")
        text_tokens = asked.output_tokens - asked.reasoning_tokens
        if asked.judged or asked.schema is not None:
            return _json(asked, text_tokens, reasoning)
        if asked.stop:
            return self._stopped(asked, text_tokens, reasoning)
        return Choice(self._run(text_tokens, asked.is_stream), (), reasoning)

    def _run(self, tokens: int, is_stream: bool) -> Chunks:
        self._start += STRIDE
        if not is_stream:
            return [(self._words.run(self._start, tokens)[:-1], tokens)]
        chunks, start = [], self._start
        for size in _chunk_sizes(tokens):
            chunks.append((self._words.run(start, size), size))
            start += size
        return chunks

    def _stopped(self, asked: Asked, tokens: int, reasoning: Chunks | None) -> Choice:
        self._start += STRIDE
        text = self._words.run(self._start, tokens)[:-1]
        found = [(text.find(stop), stop) for stop in asked.stop if stop in text]
        if not found:
            return Choice(_chunks(text.split(" "), asked.is_stream), (), reasoning)
        end, stop = min(found)
        return Choice(_chunks(text[:end].split(" "), asked.is_stream), (), reasoning, "sequence", stop)


def _json(asked: Asked, most_words: int, reasoning: Chunks | None) -> Choice:
    """A verdict, or an instance of the schema; cut where the caller's limit is, as a provider's is."""
    if asked.judged:
        text = verdict(asked.criteria, asked.judged)
    else:
        text = json.dumps(instance(asked.schema or {}), ensure_ascii=False)
    words = text.split(" ")
    kept = words[: most_words if asked.is_limited else MOST_OUTPUT_TOKENS]
    return Choice(_chunks(kept, asked.is_stream), (), reasoning, "stop" if len(kept) == len(words) else "length")


def _chunks(words: list[str], is_stream: bool) -> Chunks:
    if not is_stream:
        return [(" ".join(words), len(words))]
    chunks, start = [], 0
    for size in _chunk_sizes(len(words)):
        end = start + size
        tail = " " if end < len(words) else ""
        chunks.append((" ".join(words[start:end]) + tail, size))
        start = end
    return chunks


def _chunk_sizes(tokens: int) -> list[int]:
    chunks = max(1, tokens // TOKENS_PER_CHUNK)
    return [TOKENS_PER_CHUNK] * (chunks - 1) + [tokens - TOKENS_PER_CHUNK * (chunks - 1)]
