"""Makes an answer: a fresh id and exactly as many words as were asked for, or a verdict when a judge asks."""

import secrets
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from random import Random

import msgspec

from llmobs.ops.simulator.asked import Asked
from llmobs.ops.simulator.words import POOL_WORDS, Words

TOKENS_PER_CHUNK = 10
PASSES_FROM = 7  # a judge's overall score
MIDDLE_SCORE, BEST_SCORE = 5, 10

# An odd stride through the pool of words: answers of one process are not alike until all beginnings were used.
STRIDE = 6_151


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent: for each choice its chunks, each (text, words)."""

    response_id: str
    model: str
    input_tokens: int
    choices: list[list[tuple[str, int]]]

    @property
    def output_tokens(self) -> int:
        return sum(tokens for chunks in self.choices for _, tokens in chunks)


class Answers:
    """Makes answers with ids of this process."""

    def __init__(self) -> None:
        self._words = Words()
        self._nonce = secrets.token_hex(6)
        self._numbers = count()
        self._start = Random(self._nonce).randrange(POOL_WORDS)  # noqa: S311 - filler, not secrets

    def new_id(self, prefix: str) -> str:
        """An id that no other answer has, of this process or another."""
        return f"{prefix}{self._nonce}{next(self._numbers):012x}"

    def answer(self, asked: Asked, id_prefix: str) -> Answer:
        response_id = self.new_id(id_prefix)
        make = self._verdict if asked.judged else self._text
        return Answer(response_id, asked.model, asked.input_tokens, [make(asked) for _ in range(asked.choices)])

    def _text(self, asked: Asked) -> list[tuple[str, int]]:
        self._start += STRIDE
        if not asked.is_stream:
            return [(self._words.run(self._start, asked.output_tokens)[:-1], asked.output_tokens)]
        chunks, start = [], self._start
        for tokens in _chunk_sizes(asked.output_tokens):
            chunks.append((self._words.run(start, tokens), tokens))
            start += tokens
        return chunks

    def _verdict(self, asked: Asked) -> list[tuple[str, int]]:
        words = verdict(asked.criteria, asked.judged).split(" ")[: asked.output_tokens]
        if not asked.is_stream:
            return [(" ".join(words), len(words))]
        chunks, start = [], 0
        for tokens in _chunk_sizes(len(words)):
            chunks.append(("".join(f"{word} " for word in words[start : start + tokens]), tokens))
            start += tokens
        return chunks


def verdict(criteria: tuple[str, ...], judged: str) -> str:
    """A judge's verdict as JSON, the same for the same criteria and text; scores spread over 5 to 10."""
    scored = [(criterion, _score(criterion, judged)) for criterion in criteria]
    overall = round(sum(score for _, score in scored) / len(scored)) if scored else _score("", judged)
    worst = min(scored, key=lambda one: one[1])[0] if scored else "the answer"
    passes = overall >= PASSES_FROM
    whole = {
        "criteria": [
            {"criterion": criterion, "score": score, "reason": f"The answer earns {score} of 10 here."}
            for criterion, score in scored
        ],
        "overall": overall,
        "verdict": "PASS" if passes else "FAIL",
        "reasoning": f"{'Good enough' if passes else 'Not good enough'} on the whole; weakest: {worst}.",
    }
    return msgspec.json.encode(whole).decode()


def _score(criterion: str, judged: str) -> int:
    digest = sha256(f"{criterion}\0{judged}".encode()).digest()
    # Two draws, the better counts: most answers are good, some are not.
    spread = BEST_SCORE - MIDDLE_SCORE + 1
    return MIDDLE_SCORE + max(digest[0] % spread, digest[1] % spread)


def _chunk_sizes(tokens: int) -> list[int]:
    chunks = max(1, tokens // TOKENS_PER_CHUNK)
    return [TOKENS_PER_CHUNK] * (chunks - 1) + [tokens - TOKENS_PER_CHUNK * (chunks - 1)]
