"""The connection to Valkey: one, pipelined, RESP by hiredis; each command with a deadline.

1. `call` writes a command and gives a future. Commands keep their order: replies come in it, and the ledger relies
   on it (budgets/ledger.py).
2. Connecting: AUTH, SELECT, CLIENT ID, the old connection killed by its id, so that nothing of the past arrives
   later; the server's `run_id` asked, for the ledger's epoch. Then `on_connect` runs, and only then commands go out.
3. A script that the server has forgotten (someone flushed them) is sent again as its text, also where nobody waits
   for its reply: a settlement is not lost by it.
4. A connection that leaves a command unanswered past the deadline is closed; lost ones are made anew, again and again.

Away means `Away` at once, so that a caller fails fast; what is under way is bounded.
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis

from gateway.turn import Turn
from llmobs.budgets.ledger import Command, kill_connection

log = logging.getLogger(__name__)

COMMAND_SECONDS = 1.0
CONNECT_SECONDS = 2.0
GREETING_SECONDS = 5.0  # for what goes first on a new connection: scripts, and a hand-in for each call under way
RECONNECT_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)
MOST_WAITING = 20_000  # commands under way; a command is some hundred bytes

Reply = Any


class Away(Exception):
    """No answer from Valkey: not connected, or not in time. The command may have been done."""


class Answered(Protocol):
    """Who is told what came of a command: a future, or what needs none."""

    def done(self) -> bool: ...
    def set_result(self, reply: Any, /) -> None: ...
    def set_exception(self, error: Any, /) -> None: ...


class _Wire(asyncio.Protocol):
    """One connection's bytes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, turn: Turn) -> None:
        self.loop = loop
        self.turn = turn
        self.reader = hiredis.Reader()
        self.waiting: deque[tuple[Answered, float, Command | None]] = deque()
        self.transport: asyncio.Transport | None = None
        self.lost = loop.create_future()
        self.outgoing: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        reader = self.reader
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not False:
                answered, _, command = self.waiting.popleft()
                if answered.done():
                    continue
                if command is not None and type(reply) is hiredis.ReplyError and str(reply).startswith("NOSCRIPT"):
                    self.put(command.eval(), answered, self.loop.time() + COMMAND_SECONDS)
                else:
                    answered.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        while self.waiting:
            answered, _, _ = self.waiting.popleft()
            if not answered.done():
                answered.set_exception(Away("the connection to Valkey was lost"))
        if not self.lost.done():
            self.lost.set_result(None)

    def send(self, words: Sequence[Any]) -> "asyncio.Future[Reply]":
        """Raises Away where the connection is lost already but has not said so yet."""
        future: asyncio.Future[Reply] = self.loop.create_future()
        assert self.transport is not None, "sent only once connected"
        if self.transport.is_closing():
            raise Away("the connection to Valkey was lost")
        self.put(words, future, self.loop.time() + COMMAND_SECONDS)
        return future

    def put(self, words: Sequence[Any], answered: Answered, deadline: float) -> None:
        """Queue a command: what all calls of this turn of the loop ask goes out in one write."""
        outgoing = self.outgoing
        if not outgoing:
            self.turn.add(self.flush)
        outgoing.append(hiredis.pack_command(tuple(words)))
        self.waiting.append((answered, deadline, None))

    def put_script(self, command: Command, answered: Answered) -> None:
        """As `put`, of a script by its hash."""
        packed = command.packed
        if packed is None:
            packed = hiredis.pack_command(tuple(command.evalsha()))  # type: ignore[arg-type]  # of any length
        if not self.outgoing:
            self.turn.add(self.flush)
        self.outgoing.append(packed)
        self.waiting.append((answered, self.loop.time() + COMMAND_SECONDS, command))

    def flush(self) -> None:
        transport, outgoing = self.transport, self.outgoing
        if outgoing and transport is not None and not transport.is_closing():
            transport.write(b"".join(outgoing))
        outgoing.clear()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class Valkey:
    """A client of one Valkey. `on_connect(run_id)` is awaited at each connection, before any command of a caller."""

    def __init__(
        self, url: str, on_connect: Callable[[str], Awaitable[None]] | None = None, turn: Turn | None = None
    ) -> None:
        self._turn = turn if turn is not None else Turn()
        self._address = _Address(url)
        self._on_connect = on_connect
        self._wire: _Wire | None = None
        self._is_ready = False
        self._client_id: int | None = None
        self._task: asyncio.Task[None] | None = None
        self.run_id = ""
        self.losses = 0

    @property
    def is_connected(self) -> bool:
        return self._is_ready

    async def start(self) -> None:
        """Connect and stay connected; returns after the first try, connected or not."""
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._stay_connected(first))
        await first

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._wire is not None:
            self._wire.abort()

    def call(self, *words: str | bytes | int) -> "asyncio.Future[Reply]":
        """Send a command; the future gives its reply, an error of the server as `hiredis.ReplyError`, or raises Away.

        Raises Away at once when there is no connection, or too much is under way.
        """
        return self._able().send(words)

    def call_script(self, command: Command) -> "asyncio.Future[Reply]":
        """As `call`, of a script by its hash, its text having been loaded when the connection was made."""
        wire = self._able()
        transport = wire.transport
        if transport is None or transport.is_closing():
            raise Away("the connection to Valkey was lost")
        future: asyncio.Future[Reply] = wire.loop.create_future()
        wire.put_script(command, future)
        return future

    def send_script(self, command: Command) -> "asyncio.Future[Reply]":
        """As `call_script`, of a caller's: only once `on_connect` has run."""
        if not self._is_ready:
            raise Away("Valkey is not connected")
        return self.call_script(command)

    def _able(self) -> _Wire:
        wire = self._wire
        if wire is None or len(wire.waiting) >= MOST_WAITING:
            raise Away("Valkey is not connected" if wire is None else "too many commands wait for Valkey")
        return wire

    def tell_script(self, command: Command, answered: Answered) -> None:
        """Send a script for which nobody waits; `answered` is told its reply. Raises Away."""
        wire = self._wire
        if not self._is_ready or wire is None or len(wire.waiting) >= MOST_WAITING:
            raise Away("Valkey is not connected")
        transport = wire.transport
        if transport is None or transport.is_closing():
            raise Away("the connection to Valkey was lost")
        wire.put_script(command, answered)

    async def run_script(self, command: Command) -> list[Any]:
        """Run a script and give its reply. Raises Away."""
        reply = await self.send_script(command)
        if isinstance(reply, hiredis.ReplyError):
            raise Away(f"Valkey refused a script: {str(reply)[:200]}")
        return list(reply)

    async def _stay_connected(self, first: "asyncio.Future[None]") -> None:
        tries = 0
        while True:
            try:
                wire = await self._connect()
                tries = 0
                if not first.done():
                    first.set_result(None)
                await self._watch(wire)
            except (Away, OSError, TimeoutError, hiredis.HiredisError):
                pass
            except Exception:  # the task's outermost loop: whatever a server says, the next connection is tried
                log.exception("the connection to Valkey failed")
            finally:
                self._is_ready = False
                if self._wire is not None:
                    self._wire.abort()
                self._wire = None
                self.losses += 1
            if not first.done():
                first.set_result(None)
            await asyncio.sleep(RECONNECT_SECONDS[min(tries, len(RECONNECT_SECONDS) - 1)])
            tries += 1

    async def _connect(self) -> _Wire:
        async with asyncio.timeout(CONNECT_SECONDS):  # one that accepts and then says nothing is no connection
            wire = self._wire = await self._address.open(self._turn)
            await self._greet(wire)
        if self._on_connect is not None:
            async with asyncio.timeout(GREETING_SECONDS):
                await self._on_connect(self.run_id)
        self._is_ready = True
        return wire

    async def _greet(self, wire: _Wire) -> None:
        for words in self._address.greeting():
            _checked(await wire.send(words))
        client_id = int(_checked(await wire.send(("CLIENT", "ID"))))
        self.run_id = _run_id(_checked(await wire.send(("INFO", "server"))))
        if self._client_id is not None and self._client_id != client_id:
            await wire.send(tuple(kill_connection(self._client_id)))  # mostly gone already: its error is no matter
        self._client_id = client_id

    async def _watch(self, wire: _Wire) -> None:
        """Until the connection is lost, or its oldest command is past its deadline."""
        while not wire.lost.done():
            await asyncio.wait([wire.lost], timeout=0.1)
            if wire.waiting and wire.waiting[0][1] < wire.loop.time():
                return


class _Address:
    """Where and how to connect, from a redis://, rediss:// or unix:// address."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        self.path = parts.path if parts.scheme == "unix" else ""
        self.host = parts.hostname or "localhost"
        self.port = parts.port or 6379
        self.tls = ssl.create_default_context() if parts.scheme == "rediss" else None
        self.user = unquote(parts.username or query.get("username", [""])[0])
        self.password = unquote(parts.password or query.get("password", [""])[0])
        self.db = query.get("db", [""])[0] or ("" if self.path else parts.path.strip("/")) or "0"

    def greeting(self) -> list[tuple[str, ...]]:
        auth: list[tuple[str, ...]] = []
        if self.password:
            auth = [("AUTH", self.user, self.password) if self.user else ("AUTH", self.password)]
        return [*auth, ("SELECT", self.db)]

    async def open(self, turn: Turn) -> _Wire:
        loop = asyncio.get_running_loop()
        if self.path:
            return (await loop.create_unix_connection(lambda: _Wire(loop, turn), self.path))[1]
        return (await loop.create_connection(lambda: _Wire(loop, turn), self.host, self.port, ssl=self.tls))[1]


def _checked(reply: Reply) -> Reply:
    if isinstance(reply, hiredis.ReplyError):
        raise reply
    return reply


def _run_id(info: bytes | str) -> str:
    """The server's run_id out of INFO."""
    text = info.decode() if isinstance(info, bytes) else info
    for line in text.splitlines():
        if line.startswith("run_id:"):
            return line.removeprefix("run_id:").strip()
    return ""
