"""Identical requests at the same time: the first one flies, the others wait for its answer.

1. Within this process by a future: whoever finds none flies, and the others wait for what comes of it.
2. Across gateways by a mark in Valkey, which the admission script sets and finds (llmobs/cache/store.py): whoever finds
   another's mark looks again every few milliseconds. The mark is a lease, renewed while the call runs, so that a
   gateway that dies holds nobody up for long.
3. A flight that fails lets one of those that wait fly next: never all at once.
4. Nobody waits beyond the caller's patience, or for a caller that has left: then the call goes alone.

Fails open: without Valkey there are no marks, and each gateway sends its own.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

LEASE_SECONDS = 10.0  # of a mark; a gateway that died is waited for no longer
LOOK_SECONDS = 0.02  # between two looks at another gateway's mark

Name = tuple[int, str]  # tenant and the request's digest


class ClientGone(Exception):
    """The caller left while it waited."""


class Flight(Generic[T]):
    """One request under way. `waiting` are told what comes of it: an answer, or None."""

    __slots__ = ("landed", "waiting")

    def __init__(self) -> None:
        self.landed = False
        self.waiting: list[asyncio.Future[T | None]] = []


class Flights(Generic[T]):
    """What this process has under way, by tenant and digest."""

    def __init__(self) -> None:
        self._flights: dict[Name, Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def take_off(self, name: Name) -> Flight[T] | None:
        """The flight, if nobody flies: the caller does, and must land it. None: somebody does."""
        if name in self._flights:
            return None
        flight = self._flights[name] = Flight()
        return flight

    async def answer(self, name: Name, gone: "asyncio.Future[object]", deadline: float) -> T | None:
        """What the flight under this name brings; None: nothing, or not by the deadline (of the loop's clock).

        `gone` is done when the caller has left: raises ClientGone.
        """
        loop = asyncio.get_running_loop()
        found: asyncio.Future[T | None] = loop.create_future()
        flight = self._flights[name]
        flight.waiting.append(found)
        try:
            await asyncio.wait((found, gone), timeout=deadline - loop.time(), return_when=asyncio.FIRST_COMPLETED)
            if found.done():
                return found.result()
            if gone.done():
                raise ClientGone
            return None
        finally:
            if not flight.landed:
                flight.waiting.remove(found)

    def land(self, name: Name, flight: Flight[T], answer: T | None) -> None:
        """Tell those who wait. All get an answer; where there is none, the first of them to run flies next."""
        if flight.landed:
            return
        flight.landed = True
        if self._flights.get(name) is flight:
            del self._flights[name]
        for future in flight.waiting:
            if not future.done():
                future.set_result(answer)


async def look_again(gone: "asyncio.Future[object]") -> None:
    """Wait a moment before the next look at another gateway's mark. Raises ClientGone."""
    await asyncio.wait((gone,), timeout=LOOK_SECONDS)
    if gone.done():
        raise ClientGone


class Renewal:
    """Renews a mark until it is stopped: one timer, and one command each time it rings."""

    __slots__ = ("_renew", "_timer")

    def __init__(self, renew: Callable[[], None]) -> None:
        self._renew = renew
        self._timer = asyncio.get_running_loop().call_later(LEASE_SECONDS * 0.4, self._ring)

    def _ring(self) -> None:
        self._renew()
        self._timer = asyncio.get_running_loop().call_later(LEASE_SECONDS * 0.4, self._ring)

    def stop(self) -> None:
        self._timer.cancel()
