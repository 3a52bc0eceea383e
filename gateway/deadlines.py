"""Deadlines of connections, looked at a few dozen times a second: a timer for each wait would cost every call two."""

import asyncio
from typing import Protocol

STEP_SECONDS = 0.02  # a wait ends so much after its deadline, at most


class Waiting(Protocol):
    """What may wait for too long."""

    def look(self, now: float) -> None: ...


class Deadlines:
    """Those of one event loop; no timer runs while nothing is watched."""

    __slots__ = ("_is_running", "_watched")

    def __init__(self) -> None:
        self._watched: set[Waiting] = set()
        self._is_running = False

    def watch(self, waiting: Waiting, loop: asyncio.AbstractEventLoop) -> None:
        self._watched.add(waiting)
        if not self._is_running:
            self._is_running = True
            loop.call_later(STEP_SECONDS, self._ring, loop)

    def forget(self, waiting: Waiting) -> None:
        self._watched.discard(waiting)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_running = bool(self._watched)
        if not self._is_running:
            return
        loop.call_later(STEP_SECONDS, self._ring, loop)
        now = loop.time()
        for waiting in list(self._watched):
            waiting.look(now)
