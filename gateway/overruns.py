"""What this gateway saw cost more than was held for it, and what it learned: budgets that block depend on the bound.

1. `met`, where an answer's bill is above its hold, or its tier of service costs more than what was held for. The tier
   is held for from the next call on (`Snapshot.unasked`), here at once.
2. The snapshot's thread writes it down (`write`): the other gateways hold for it with their next snapshot, and the
   operators are told (`llmobs.alerts.overruns`).
3. What the snapshot has is the database's from then on: who deletes the row there ends it everywhere.

Fails open: while PostgreSQL is away it is kept and tried again.
"""

import logging
import threading
import time
from typing import Any

import psycopg
from msgspec.structs import replace

from gateway.call import Attempt
from gateway.snapshot import Snapshot
from llmobs.pricing.cost import cost
from llmobs.pricing.upper import upper_length
from llmobs.providers import overruns
from llmobs.providers.overruns import Overrun

log = logging.getLogger(__name__)

TELL_SECONDS = 600.0  # between two of a kind: each row that is written makes all gateways read the configuration
MOST_WAITING = 200  # kinds of overruns that are not written down yet: names of models come from callers

Key = tuple[int, str, str]


class Overruns:
    """Of one process. `met` and `hold_for` on the event loop, `write` on the snapshot's thread."""

    def __init__(self) -> None:
        self._waiting: dict[Key, Overrun] = {}
        self._told: dict[Key, float] = {}  # when, by the monotonic clock
        self._learned: dict[int, set[str]] = {}  # that no snapshot has yet
        self._lock = threading.Lock()

    def met(self, attempt: Attempt, trace_id: bytes, snapshot: Snapshot | None) -> None:
        """Remember an attempt that was held for too little. Never raises."""
        outcome, provider = attempt.outcome, attempt.candidate.provider
        tier = outcome.usage.tier if outcome.usage is not None else ""
        is_dearer = bool(tier) and _is_dearer(attempt, tier)
        held, paid = attempt.held_nanousd or 0, outcome.cost_nanousd
        if not is_dearer and (paid is None or paid <= held):
            return
        model = attempt.candidate.model
        if is_dearer and tier not in self._learned.setdefault(provider.id, set()):
            self._learned[provider.id].add(tier)
            self._told.pop((provider.id, model, tier), None)
            if snapshot is not None:
                snapshot.hold_for(provider.id, (tier,))
        self._tell(Overrun(provider.id, model, tier if is_dearer else "", held, paid, trace_id), provider.name)

    def _tell(self, found: Overrun, provider: str) -> None:
        key, now_s = (found.provider_id, found.model, found.tier), time.monotonic()
        if now_s - self._told.get(key, -TELL_SECONDS) < TELL_SECONDS:
            return
        if len(self._told) >= MOST_WAITING:
            self._told.clear()
        self._told[key] = now_s
        with self._lock:
            if len(self._waiting) < MOST_WAITING:
                self._waiting[key] = found
        text = "held %d nano-USD for a call of %s/%s that cost %s (tier %s)"
        log.warning(text, found.held_nanousd, provider, found.model, found.cost_nanousd, found.tier or "usual")

    @property
    def waiting(self) -> int:
        """How many are not written down yet."""
        return len(self._waiting)

    def hold_for(self, snapshot: Snapshot) -> None:
        """What was learned and is not in a new snapshot holds on."""
        for provider_id in list(self._learned):
            left = self._learned[provider_id].difference(snapshot.seen_tiers(provider_id))
            if left:
                self._learned[provider_id] = left
                snapshot.hold_for(provider_id, tuple(left))
            else:
                del self._learned[provider_id]

    def write(self, conn: psycopg.Connection[Any]) -> None:
        """Write down what waits. Raises psycopg.Error: then it still does."""
        while True:
            with self._lock:
                found = next(iter(self._waiting.items()), None)
            if found is None:
                return
            key, overrun = found
            overruns.write(conn, overrun)
            with self._lock:
                if self._waiting.get(key) is overrun:
                    del self._waiting[key]


def _is_dearer(attempt: Attempt, tier: str) -> bool:
    """Whether the same request, held for that tier, would have held more."""
    price, held = attempt.price, attempt.held_nanousd
    if price is None or held is None or tier == attempt.held_usage.tier:
        return False
    bound = cost(upper_length(replace(attempt.held_usage, tier=tier), price), price)
    return bound is not None and bound > held
