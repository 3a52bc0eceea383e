"""Requests as loops, jobs and people make them; and the brake over them, without gateway or clock.

All texts are made here, from a small vocabulary and a seed: what they say is nobody's.
"""

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from llmobs.brake.signature import head, signature
from llmobs.brake.subject import SESSION, Subject, factor_of, subject_of
from llmobs.brake.track import Evidence, Track, verdict
from llmobs.tenants.attribution import Attribution
from llmobs.tenants.braking import DEFAULTS, Marks

CONSONANTS, VOWELS = "bcdfghklmnprstvz", "aeiou"
WORDS_PER_TOKEN = 0.75


@dataclass(frozen=True, slots=True)
class Asked:
    """One call: when, by whom, what it says, and what it costs once it is answered."""

    at_s: float
    who: Attribution
    body: bytes
    cost_nanousd: int


@dataclass
class Seen:
    """What the brake made of calls. `stopped`: sessions that were paused, with the call and the cost at which."""

    calls: int = 0
    slowed: int = 0
    refused: int = 0
    sessions: set[Subject] = field(default_factory=set)
    slowed_sessions: set[Subject] = field(default_factory=set)
    stopped: dict[Subject, tuple[int, int, Evidence]] = field(default_factory=dict)


def replay(calls: Iterable[Asked], marks: Marks = DEFAULTS) -> Seen:
    """The calls in their order, judged as a gateway in mode `pause` does; a delay puts off nothing but its call."""
    seen = Seen()
    tracks: dict[Subject, Track] = {}
    spent: dict[Subject, int] = {}
    usual: dict[int, int] = {}
    numbers: dict[Subject, int] = {}
    for call in calls:
        subject = subject_of(1, call.who, 0 if call.who.session_id else head(call.body))
        track = tracks.setdefault(subject, Track())
        seen.calls += 1
        seen.sessions.add(subject)
        if subject in seen.stopped:
            seen.refused += 1
            continue
        before, cost = track.bucket, track.now.cost_nanousd if track.is_usual else 0
        track.roll(call.at_s, marks)
        if before and track.bucket != before and cost:
            usual[1] = usual.get(1, cost) + (cost - usual.get(1, cost)) // 16
        track.called(signature(call.body, subject.kind == SESSION), len(call.body), call.at_s, marks)
        numbers[subject] = numbers.get(subject, 0) + 1
        factor = factor_of(subject.kind, marks)
        found = track.evidence(call.at_s, marks, factor, usual.get(1, 0))
        wanted = verdict(found, marks, factor)
        if wanted == "paused":
            seen.stopped[subject] = numbers[subject], spent.get(subject, 0), found
            seen.refused += 1
            continue
        if wanted == "slowed":
            seen.slowed += 1
            seen.slowed_sessions.add(subject)
        track.now.cost_nanousd += call.cost_nanousd
        spent[subject] = spent.get(subject, 0) + call.cost_nanousd
    return seen


def chat(*messages: tuple[str, str], **fields: Any) -> bytes:
    """A request of chat completions."""
    told = [{"role": role, "content": content} for role, content in messages]
    return json.dumps({"model": "gpt-4o", "messages": told, **fields}).encode()


class Speaker:
    """Makes texts: words by Zipf's law out of a vocabulary of thousands."""

    def __init__(self, seed: int, vocabulary: int = 4000) -> None:
        self.random = random.Random(seed)
        made = ("".join(self._syllable() for _ in range(self.random.randint(1, 4))) for _ in range(vocabulary * 2))
        self.words = list(dict.fromkeys(made))[:vocabulary]
        self.weights = list(accumulate(1 / rank for rank in range(1, len(self.words) + 1)))

    def text(self, words: int) -> str:
        return " ".join(self.random.choices(self.words, cum_weights=self.weights, k=max(1, words)))

    def _syllable(self) -> str:
        return self.random.choice(CONSONANTS) + self.random.choice(VOWELS)


def in_order(*flows: Iterator[Asked]) -> list[Asked]:
    return sorted((call for flow in flows for call in flow), key=lambda call: call.at_s)
