"""The live attempts of one gateway process, and the ledger's epoch that it has joined: pure logic, no I/O.

The gateway drives it from one event loop and keeps all commands of the ledger on one connection:

1. On every connection, and whenever a reply is Unavailable: read `run_id` (INFO server) and `ledger:epoch`, and tell
   both to `met`. It answers what to send at once, ahead of anything else: hand-ins for a new epoch, else what must be
   released again. When all replies are good, call `given_back` for each of `returned`, send `ack`, and call `joined`.
   Repeat while it is Unavailable.
2. `ask` → send → `answered`. Only a Granted may go on to Begin; it is not a grant when the epoch has moved meanwhile
   or the answer took too long (a process that was stopped must not send under a hold that recovery has missed).
3. After End is appended: `settle` → send. From that moment the attempt is the writer's: nothing is repeated.
4. Where nothing was sent, or nothing charged: `give_back` → send → `given_back`. Repeated after a reconnect.

Bounded by the calls in flight.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec

from llmobs.budgets import ledger
from llmobs.budgets.definition import Applied
from llmobs.budgets.ledger import Ahead, Command, Exhausted, Front, Granted, Unavailable

# An answer that took longer is asked again. Recovery waits longer than this for a silent gateway
# (recovery.PATIENCE_S), so whoever missed a recovery finds out before it sends.
GRANT_LIVES_S = 2.0


class State(Enum):
    ASKED = "asked"  # no answer yet
    HELD = "held"
    RETURNING = "returning"  # to be released; the ledger has not confirmed it


class Holding(msgspec.Struct):
    """What one attempt has asked for."""

    begin_s: int
    asked: Sequence[tuple[Applied, int]]
    epoch: str
    asked_at_s: float
    is_again: bool = False  # asked before, and perhaps granted then
    state: State = State.ASKED

    def holds(self) -> list[tuple[str, int]]:
        return [(applied.key, amount) for applied, amount in self.asked]


@dataclass(frozen=True, slots=True)
class Joining:
    """What to send first, in order; and the acknowledgement for when every reply was good."""

    epoch: str
    commands: list[Command]
    ack: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)  # attempts that are given back once every reply was good


class Attempts:
    """State of one owner towards the ledger."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.epoch = ""  # "" until the ledger has shown a sound one
        self.is_joined = False
        self._holdings: dict[str, Holding] = {}

    def __len__(self) -> int:
        return len(self._holdings)

    # ---- the epoch

    def met(self, run_id: str, word: str) -> Joining | None:
        """The server is `run_id` and `ledger:epoch` says `word`: what to send first; None when nobody can be joined."""
        epoch = sound_epoch(run_id, word)
        if epoch is None:
            self.epoch, self.is_joined = "", False
            return None
        if epoch == self.epoch and self.is_joined:
            returning = [a for a, holding in self._holdings.items() if holding.state is State.RETURNING]
            return Joining(epoch, [self._return(attempt) for attempt in returning], returned=returning)
        self.epoch, self.is_joined = epoch, False
        return Joining(epoch, self._hand_ins(), ["SET", ledger.owner_key(self.owner), epoch])

    def joined(self, epoch: str) -> None:
        """All of a Joining was accepted."""
        self.is_joined = epoch == self.epoch

    def _hand_ins(self) -> list[Command]:
        """Attempts that hold and have no End. What was only asked, or is on its way back, is not in the new ledger."""
        commands = []
        for attempt, holding in list(self._holdings.items()):
            if holding.state is State.HELD:
                holding.epoch = self.epoch
                commands.append(
                    ledger.hand_in(self.epoch, attempt, ledger.HELD, holding.begin_s, self.owner, holding.holds())
                )
            elif holding.state is State.RETURNING:
                del self._holdings[attempt]
        return commands

    def _return(self, attempt: str) -> Command:
        return ledger.release(self.epoch, attempt, [key for key, _ in self._holdings[attempt].holds()])

    # ---- the life of an attempt

    def ask(
        self,
        attempt: str,
        begin_s: int,
        asked: Sequence[tuple[Applied, int]],
        now_s: float,
        front: Front | None = None,
    ) -> Command:
        """Reserve for an attempt; `now_s` is monotonic. Asking again is safe. Not for a call without budgets."""
        before = self._holdings.get(attempt)
        asked_before_s = None if before is None else now_s - before.asked_at_s
        self.asking(attempt, begin_s, asked, now_s)
        return ledger.reserve(self.epoch, attempt, begin_s, self.owner, asked, front, asked_before_s)

    def asking(self, attempt: str, begin_s: int, asked: Sequence[tuple[Applied, int]], now_s: float) -> None:
        """As `ask`, of an attempt whose command is made elsewhere."""
        self._holdings[attempt] = Holding(begin_s, asked, self.epoch, now_s, attempt in self._holdings)

    def answered(self, attempt: str, reply: Sequence[Any], now_s: float) -> Granted | Exhausted | Unavailable | Ahead:
        """What the reserve came to. After Unavailable: `ask` again, or `give_back`; after any other no: `give_back`."""
        holding = self._holdings[attempt]
        outcome = ledger.parse_reserve(reply, len(holding.asked))
        if isinstance(outcome, Granted):
            if holding.epoch != self.epoch or now_s - holding.asked_at_s > GRANT_LIVES_S:
                return Unavailable(self.epoch)
            holding.state = State.HELD
        elif isinstance(outcome, Exhausted | Ahead) and not holding.is_again:
            del self._holdings[attempt]
        return outcome

    def settle(self, attempt: str, cost_nanousd: int | None, tokens: int) -> Command | None:
        """The attempt has ended, and its End is appended. None where it holds nothing."""
        holding = self._holdings.pop(attempt, None)
        if holding is None or not self.epoch:
            return None
        actuals = [(applied.key, applied.budget.amount(cost_nanousd, tokens)) for applied, _ in holding.asked]
        return ledger.settle(self.epoch, attempt, actuals)

    def settled(self, attempt: str) -> None:
        """As `settle`, of an attempt whose command is made elsewhere."""
        self._holdings.pop(attempt, None)

    def give_back(self, attempt: str) -> Command | None:
        """Nothing was charged, or the reserve has no answer. None where it holds nothing or nobody can be told."""
        holding = self._holdings.get(attempt)
        if holding is None:
            return None
        if not self.epoch or holding.epoch != self.epoch:  # that ledger is gone, and the hold with it
            del self._holdings[attempt]
            return None
        holding.state = State.RETURNING
        return self._return(attempt)

    def given_back(self, attempt: str) -> None:
        """The ledger has answered a release (also with another epoch: then there is no hold)."""
        holding = self._holdings.get(attempt)
        if holding is not None and holding.state is State.RETURNING:  # not one that has asked again meanwhile
            del self._holdings[attempt]


def sound_epoch(run_id: str, word: str) -> str | None:
    """The epoch that `ledger:epoch` names, if this server made it and it can be joined ("open E" or "closed E")."""
    state, _, epoch = word.partition(" ")
    if state not in (ledger.OPEN, ledger.CLOSED) or not run_id or not epoch.endswith(f":{run_id}"):
        return None
    return epoch
