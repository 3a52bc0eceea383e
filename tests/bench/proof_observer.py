"""The proof's observer: settled + held of every budget, asked of the ledger by its own status script, all the time.

What moves is looked at in each round, everything once a second, with what PostgreSQL has as spent.
"""

import threading
import time
from dataclasses import dataclass, field
from itertools import groupby

import psycopg
import redis

from llmobs.budgets import ledger
from llmobs.budgets.definition import BudgetInfo, load
from llmobs.budgets.ledger import Standing
from llmobs.budgets.valkey import run, scan
from llmobs.ingest.writer import ledger_client

ROUND_SECONDS = 0.03
ALL_SECONDS = 1.0
KEYS_AT_ONCE = 200  # one moment for all of them, without keeping the calls from Valkey for long
_OVERSPENT = """
SELECT b.name, s.value, s.spent FROM budget_spend s JOIN budgets_budget b ON b.id = s.budget_id
WHERE b.action <> 'alert' AND s.spent > coalesce(b.limit_nanousd, b.limit_tokens)
"""


@dataclass
class Seen:
    """What was observed. `away`: from when to when the ledger could not be asked (time.time)."""

    observations: int = 0
    rounds: int = 0
    sums_in_postgres: int = 0
    keys: set[str] = field(default_factory=set)
    fullest: float = 0.0  # share of a limit
    overspent: list[str] = field(default_factory=list)
    away: list[tuple[float, float]] = field(default_factory=list)


class Observer:
    """Looks until the end of the block, on a thread of its own."""

    def __init__(self, database_url: str, valkey_url: str) -> None:
        self.seen = Seen()
        self._database_url = database_url
        self._client = ledger_client(valkey_url)
        with psycopg.connect(database_url, autocommit=True) as conn:
            self._budgets = {budget.id: budget for budget in load(conn).infos if budget.is_blocking}
        self._moving: set[str] = set()
        self._standings: dict[str, Standing] = {}
        self._all_at = 0.0
        self._away_since = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="observer")

    def __enter__(self) -> "Observer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def is_open(self) -> bool:
        """Whether the ledger answered last time."""
        return not self._away_since and self.seen.rounds > 0

    def _look_on(self) -> None:
        while not self._stop.wait(ROUND_SECONDS):
            now = time.time()
            try:
                is_open = self._look(now)
            except (redis.RedisError, OSError):
                is_open = False
            if is_open and self._away_since:
                self.seen.away.append((self._away_since, now))
                self._away_since = 0.0
            elif not is_open and not self._away_since:
                self._away_since = now

    def _look(self, now: float) -> bool:
        """One round; whether the ledger is open."""
        if now >= self._all_at:
            self._all_at = now + ALL_SECONDS
            found = {key for key in scan(self._client, f"{ledger.PREFIX}{{*") if self._budget(key) is not None}
            self.seen.keys |= found
            self._look_into_postgres()
        else:
            found = set(self._moving)
        self._moving &= found
        is_open = True
        for _, keys in groupby(sorted(found), key=lambda key: key.split("}")[0]):
            waiting = list(keys)
            while waiting and is_open:
                chunk, waiting = waiting[:KEYS_AT_ONCE], waiting[KEYS_AT_ONCE:]
                is_open = self._observe(chunk)
        if not found:
            is_open = ledger.text(self._client.get(ledger.EPOCH_KEY)).startswith(ledger.OPEN)
        self.seen.rounds += 1
        return is_open

    def _observe(self, keys: list[str]) -> bool:
        standings = ledger.parse_status(run(self._client, ledger.status(keys)))
        if isinstance(standings, ledger.Unavailable):
            return False
        for key, standing in zip(keys, standings, strict=True):
            budget = self._budget(key)
            assert budget is not None
            sum_ = standing.base + standing.pending + standing.held
            self.seen.observations += 1
            self.seen.fullest = max(self.seen.fullest, sum_ / budget.limit)
            if sum_ > budget.limit:
                self.seen.overspent.append(f"{time.time():.3f} {budget.name} {key}: {standing}, limit {budget.limit}")
            moves = standing.attempts or standing != self._standings.get(key)
            (self._moving.add if moves else self._moving.discard)(key)
            self._standings[key] = standing
        return True

    def _budget(self, key: str) -> BudgetInfo | None:
        """The blocking budget of a key."""
        parts = ledger.key_parts(key)
        return self._budgets.get(parts.budget_id) if parts is not None else None

    def _look_into_postgres(self) -> None:
        try:
            with psycopg.connect(self._database_url, connect_timeout=1) as conn:
                rows = conn.execute(_OVERSPENT).fetchall()
        except psycopg.Error:
            return
        self.seen.sums_in_postgres += 1
        self.seen.overspent += [f"budget_spend {name} {value!r}: {spent}" for name, value, spent in rows]
