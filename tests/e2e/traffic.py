"""Traffic against a gateway that may die at any moment: every answer is remembered, nothing is retried."""

import json
import random
import threading
from dataclasses import dataclass, field

import httpx2

WORDS = ("parcel", "order", "refund", "invoice", "address", "account", "question", "policy", "return", "support")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller holds in hand: the provider's response id and usage, and what we said it cost ("" in streams)."""

    response_id: str
    input_tokens: int
    output_tokens: int
    cost_usd: str


@dataclass
class Outcomes:
    """All calls of one run: answered in full, refused or failed by status, and broken off on the way."""

    answered: list[Answer] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    broken: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, status: int, reason: str) -> None:
        with self.lock:
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if reason:
                self.reasons[reason] = self.reasons.get(reason, 0) + 1


class Traffic:
    """Callers on threads, until told to stop: OpenAI and Anthropic, one in three streamed, some hang up midway."""

    def __init__(self, gateway_url: str, key: str, callers: int = 8, seed: int = 1) -> None:
        self.url, self.key, self.outcomes = gateway_url, key, Outcomes()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call_on, args=(seed * 1000 + n,)) for n in range(callers)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_answers(self, more: int, seconds: float = 30) -> None:
        """Return once `more` further calls were answered: the traffic flows again. Raises TimeoutError."""
        until, aim = seconds / 0.02, len(self.outcomes.answered) + more
        while len(self.outcomes.answered) < aim:
            until -= 1
            if until < 0:
                raise TimeoutError(f"no {more} answers within {seconds} s: {self.outcomes.statuses}")
            self._stop.wait(0.02)

    def _call_on(self, seed: int) -> None:
        chance = random.Random(seed)
        with httpx2.Client(base_url=self.url, timeout=60) as client:
            while not self._stop.is_set():
                try:
                    self._call(client, chance)
                except (httpx2.HTTPError, json.JSONDecodeError):
                    with self.outcomes.lock:
                        self.outcomes.broken += 1
                    self._stop.wait(0.05)  # a dead gateway refuses connections at once

    def _call(self, client: httpx2.Client, chance: random.Random) -> None:
        words = " ".join(chance.choices(WORDS, k=chance.randint(5, 200)))
        is_openai, is_stream = chance.random() < 0.6, chance.random() < 0.33
        body: dict[str, object] = {
            "model": "gpt-4o-mini" if is_openai else "claude-sonnet-4-5",
            "max_tokens": chance.randint(1, 300),
            "messages": [{"role": "user", "content": words}],
            "stream": is_stream,
        }
        path = "/v1/chat/completions" if is_openai else "/v1/messages"
        headers = {"authorization": f"Bearer {self.key}", "x-llmobs-user": f"user-{chance.randint(1, 5)}"}
        with client.stream("POST", path, json=body, headers=headers) as response:
            if response.status_code == 200 and is_stream and chance.random() < 0.1:
                next(response.iter_bytes(), None)
                with self.outcomes.lock:
                    self.outcomes.broken += 1
                return  # hangs up after the first bytes
            text = response.read().decode()
        self.outcomes.note(response.status_code, response.headers.get("x-llmobs-reason", ""))
        if response.status_code == 200:
            answer = _streamed(text) if is_stream else _whole(json.loads(text))
            if answer is not None:
                cost = response.headers.get("x-llmobs-cost-usd", "")
                with self.outcomes.lock:
                    self.outcomes.answered.append(Answer(*answer, cost))


def _whole(body: dict[str, dict[str, int]]) -> tuple[str, int, int]:
    usage = body["usage"]
    return (
        str(body["id"]),
        usage.get("prompt_tokens", usage.get("input_tokens", 0)),
        usage.get("completion_tokens", usage.get("output_tokens", 0)),
    )


def _streamed(text: str) -> tuple[str, int, int] | None:
    """Id and tokens of a stream that came to its end, else None. OpenAI's has no usage unless asked: tokens -1."""
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    if "data: [DONE]" in text:
        return str(events[0]["id"]), -1, -1
    if events and events[-1].get("type") == "message_stop":
        started = events[0]["message"]
        ended = next(event["usage"] for event in reversed(events) if event["type"] == "message_delta")
        return str(started["id"]), started["usage"]["input_tokens"], ended["output_tokens"]
    return None
