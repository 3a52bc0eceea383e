"""The gateway's side of the ledger: reserve, settle and give back, over one connection to Valkey.

`budgets.attempts` decides what to send and when; this module sends it. Fails closed: where the ledger cannot answer,
a reserve is `Unavailable`, and the caller refuses if a blocking budget applies.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from gateway.settling import both_settled
from gateway.turn import Turn
from gateway.valkey import Away, Valkey
from llmobs.budgets.attempts import Attempts, Joining
from llmobs.budgets.definition import Applied
from llmobs.budgets.ledger import DONE, EPOCH_KEY, Ahead, Command, Exhausted, Front, Granted, Unavailable, text
from llmobs.budgets.scripts import SCRIPTS, Script

Outcome = Granted | Exhausted | Unavailable | Ahead

REJOIN_SECONDS = 0.05  # between two looks at a ledger that recovers
PATIENCE_SECONDS = 0.25  # how long a call waits for the ledger to be joined before it is refused
STOPPING_SECONDS = 1.0  # for the replies to what was sent last


class _Nobody:
    """Is told, and does nothing."""

    __slots__ = ()

    def done(self) -> bool:
        return False

    def set_result(self, reply: Any, /) -> None: ...

    def set_exception(self, error: Any, /) -> None: ...


NOBODY = _Nobody()


class _Ended:
    """Takes the reply of a settlement or a release to `Holds`; a future would cost a turn of the loop."""

    __slots__ = ("holds", "released")

    def __init__(self, holds: "Holds", released: str | None) -> None:
        self.holds = holds
        self.released = released

    def done(self) -> bool:
        return False

    def set_result(self, reply: Any, /) -> None:
        self.holds.ended(self.released, reply)

    def set_exception(self, error: Any, /) -> None:
        self.holds.ended(self.released, None)


class Holds:
    """Holds of this process. `start` connects; all on one event loop."""

    def __init__(self, url: str, owner: str, scripts: Sequence[Script] = (), turn: Turn | None = None) -> None:
        self._scripts = (*SCRIPTS, *scripts)
        self.attempts = Attempts(owner)
        self.valkey = Valkey(url, self._on_connect, turn)
        self._rejoining: asyncio.Task[None] | None = None
        self.waiting = 0  # settlements and releases without their reply
        self.unsettled = 0  # settlements whose reply never came: the writer's fold ends them

    async def start(self) -> None:
        await self.valkey.start()

    async def stop(self) -> None:
        """Let what was sent be answered, then disconnect."""
        until = time.monotonic() + STOPPING_SECONDS
        while self.waiting and time.monotonic() < until:  # noqa: ASYNC110 -- once, at the process's end
            await asyncio.sleep(0.01)
        if self._rejoining is not None:
            self._rejoining.cancel()
        await self.valkey.stop()

    def asking(
        self, attempt: str, begin_s: int, asked: Sequence[tuple[Applied, int]], command: Command
    ) -> "asyncio.Future[Any] | None":
        """The usual case of `reserve` in two steps, this and `heard`; None: Valkey is away."""
        self.attempts.asking(attempt, begin_s, asked, time.monotonic())
        try:
            return self.valkey.send_script(command)
        except Away:
            return None

    def heard(self, attempt: str, reply: Any) -> Outcome | None:
        """What came of `asking`; None: `reserve` has to ask again."""
        if not isinstance(reply, list):
            return None
        outcome = self._answered(attempt, reply)
        return None if isinstance(outcome, Unavailable) else outcome

    async def reserve(
        self, attempt: str, begin_s: int, asked: Sequence[tuple[Applied, int]], front: Front | None = None
    ) -> Outcome:
        """Hold every amount, or none. Whatever comes of it, the attempt holds nothing unless it is Granted."""
        outcome: Outcome = Unavailable("")
        for _ in range(2):
            try:
                outcome = await self._ask(attempt, begin_s, asked, front)
            except Away:
                break
            if not isinstance(outcome, Unavailable):
                return outcome
            if outcome.uncounted_index is not None or not await self._is_rejoined():
                break
        self.give_back(attempt)
        return outcome

    def settle(self, attempt: str, cost_nanousd: int | None, tokens: int, beside: Command | None = None) -> None:
        """Replace a hold by what the attempt cost; its End is in the journal, which mends a settlement that is lost.

        `beside`: what the limits have to settle, sent in the same step.
        """
        command = self.attempts.settle(attempt, cost_nanousd, tokens)
        if command is not None and beside is not None:
            command = both_settled(command, beside)
        if command is not None:
            self._send(command, None)
        elif beside is not None:
            self.tell(beside)

    def settle_by(self, attempt: str, command: Command) -> None:
        """As `settle`, by a command that is ready."""
        self.attempts.settled(attempt)
        self._send(command, None)

    def give_back(self, attempt: str) -> None:
        """Nothing was charged. Repeated after a reconnect until the ledger has confirmed it."""
        command = self.attempts.give_back(attempt)
        if command is not None:
            self._send(command, attempt)

    def tell(self, command: Command) -> None:
        """Send what nobody waits for and nobody repeats."""
        try:
            self.valkey.tell_script(command, NOBODY)
        except Away:
            pass

    def look(self) -> None:
        """See whether the ledger is another one: a recovery waits for every living gateway. Called every second."""
        if self.valkey.is_connected:
            self._rejoin()

    async def _ask(
        self, attempt: str, begin_s: int, asked: Sequence[tuple[Applied, int]], front: Front | None
    ) -> Outcome:
        if not self.attempts.is_joined and not await self._is_rejoined():
            return Unavailable(self.attempts.epoch)
        command = self.attempts.ask(attempt, begin_s, asked, time.monotonic(), front)
        reply = await self.valkey.run_script(command)
        return self._answered(attempt, reply)

    def _answered(self, attempt: str, reply: Sequence[Any]) -> Outcome:
        outcome = self.attempts.answered(attempt, reply, time.monotonic())
        if isinstance(outcome, Exhausted | Ahead):
            self.give_back(attempt)  # it may have been asked before, and granted too late
        return outcome

    def _send(self, command: Command, released: str | None) -> None:
        self.waiting += 1
        try:
            self.valkey.tell_script(command, _Ended(self, released))
        except Away:
            self.waiting -= 1
            self.unsettled += released is None

    def ended(self, released: str | None, reply: Any) -> None:
        """The ledger has answered a settlement or a release; no list: it was refused, or lost."""
        self.waiting -= 1
        if not isinstance(reply, list):
            self.unsettled += released is None
        elif released is not None:
            self.attempts.given_back(released)

    # ------------------------------------------------------------ the epoch

    async def _on_connect(self, run_id: str) -> None:
        for script in self._scripts:
            await self.valkey.call("SCRIPT", "LOAD", script.text)
        if not await self._try_to_join(run_id):
            self._rejoin()

    async def _is_rejoined(self) -> bool:
        """Join again, waiting for a moment; the joining goes on when the wait is over."""
        if not self.valkey.is_connected:
            return False
        await asyncio.wait([self._rejoin()], timeout=PATIENCE_SECONDS)
        return self.attempts.is_joined

    def _rejoin(self) -> "asyncio.Task[None]":
        if self._rejoining is None or self._rejoining.done():
            self._rejoining = asyncio.create_task(self._keep_trying_to_join())
        return self._rejoining

    async def _keep_trying_to_join(self) -> None:
        try:
            # Polled: the ledger says nothing by itself when it is open again.
            while not (self.valkey.is_connected and await self._try_to_join(self.valkey.run_id)):  # noqa: ASYNC110
                await asyncio.sleep(REJOIN_SECONDS)
        except Away:
            return  # the next connection joins

    async def _try_to_join(self, run_id: str) -> bool:
        reply = await self.valkey.call("GET", EPOCH_KEY)
        if isinstance(reply, Exception):  # it is loading, or may not be read: asked again
            return False
        word = text(reply)
        joining = self.attempts.met(run_id, word)
        if joining is None:
            return False
        return await self._join(joining) and word.startswith("open ")

    async def _join(self, joining: Joining) -> bool:
        replies = [self.valkey.call_script(command) for command in joining.commands]
        for reply in replies:
            answer = await reply
            if not isinstance(answer, list) or answer[0] != DONE:
                return False
        for attempt in joining.returned:
            self.attempts.given_back(attempt)
        if joining.ack:
            await self.valkey.call(*joining.ack)
        self.attempts.joined(joining.epoch)
        return True
