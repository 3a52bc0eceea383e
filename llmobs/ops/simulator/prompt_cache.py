"""The provider's prompt cache: which part of a prompt was seen before, which is new to it.

1. A request names prefixes of its prompt, shortest first: Anthropic's ends of blocks with `cache_control`, OpenAI's
   every 128 tokens above 1,024 where the request has a `prompt_cache_key`.
2. The longest that is remembered is read; what a marked prefix adds to it is written, at the price of its lifetime.
   OpenAI writes for nothing.
Smaller than the real one in one respect: a marked prefix of Anthropic's may be of any length.
"""

import json
from collections import OrderedDict
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import msgspec

from llmobs.ops.simulator.content import Message, tokens_of

MOST_PREFIXES = 50_000
SHORT_SECONDS, LONG_SECONDS = 5 * 60, 60 * 60
FIRST_TOKENS, STEP_TOKENS = 1024, 128  # https://platform.openai.com/docs/guides/prompt-caching


class Prefix(msgspec.Struct, frozen=True):
    digest: bytes
    tokens: int
    lives_seconds: int = SHORT_SECONDS
    is_free: bool = False  # to write


class Cached(msgspec.Struct, frozen=True):
    """Parts of a request's input tokens."""

    read: int = 0
    written_short: int = 0
    written_long: int = 0

    @property
    def written(self) -> int:
        return self.written_short + self.written_long

    @property
    def total(self) -> int:
        return self.read + self.written


NOTHING = Cached()


class PromptCache:
    """Remembers prefixes until they have not been used for as long as they live."""

    def __init__(self) -> None:
        self._ends_at: OrderedDict[bytes, float] = OrderedDict()

    def take(self, prefixes: tuple[Prefix, ...], now_seconds: float) -> Cached:
        """What is read and written, and remember it."""
        known = [prefix.tokens for prefix in prefixes if self._ends_at.get(prefix.digest, 0) > now_seconds]
        read = reached = max(known, default=0)
        short = long = 0
        for prefix in prefixes:
            self._remember(prefix, now_seconds)
            added = max(0, prefix.tokens - reached)
            reached += added
            if prefix.is_free:
                continue
            if prefix.lives_seconds == LONG_SECONDS:
                long += added
            else:
                short += added
        return Cached(read, short, long)

    def _remember(self, prefix: Prefix, now_seconds: float) -> None:
        self._ends_at[prefix.digest] = now_seconds + prefix.lives_seconds
        self._ends_at.move_to_end(prefix.digest)
        if len(self._ends_at) > MOST_PREFIXES:
            self._ends_at.popitem(last=False)


def every_step(key: str | None, model: str, texts: Iterable[str]) -> tuple[Prefix, ...]:
    """Prefixes of a prompt that is cached without markers, none without a key."""
    if key is None:
        return ()
    words = " ".join(texts).split()
    digest = sha256(f"{key}\0{model}\0".encode())
    prefixes, start = [], 0
    for end in range(FIRST_TOKENS, len(words) + 1, STEP_TOKENS):
        digest.update(" ".join(words[start:end]).encode())
        prefixes.append(Prefix(digest.digest(), end, is_free=True))
        start = end
    return tuple(prefixes)


def marked(body: bytes) -> tuple[Prefix, ...]:
    """Prefixes of an Anthropic request, in the order in which they count: tools, system, messages."""
    request = json.loads(body)
    system = request.get("system") or []
    digest, tokens, prefixes = sha256(str(request.get("model")).encode()), 0, []
    blocks: list[Any] = [("tools", tool) for tool in request.get("tools") or []]
    blocks += [("system", block) for block in ([system] if isinstance(system, str) else system)]
    for message in request.get("messages") or []:
        content = message.get("content") or []
        blocks += [(message.get("role"), block) for block in ([content] if isinstance(content, str) else content)]
    for place, (where, block) in enumerate(blocks):
        mark = block.get("cache_control") if isinstance(block, dict) else None
        if place == len(blocks) - 1:  # the request's own marker is on its last block
            mark = mark or request.get("cache_control")
        digest.update(json.dumps([where, _without_mark(block)], sort_keys=True).encode())
        tokens += 0 if where == "tools" else _tokens(block)
        if mark:
            lives = LONG_SECONDS if mark.get("ttl") == "1h" else SHORT_SECONDS
            prefixes.append(Prefix(digest.digest(), tokens, lives))
    return tuple(prefixes)


def _without_mark(block: Any) -> Any:
    return {k: v for k, v in block.items() if k != "cache_control"} if isinstance(block, dict) else block


def _tokens(block: Any) -> int:
    return tokens_of(msgspec.convert({"content": block if isinstance(block, str) else [block]}, Message).content)
