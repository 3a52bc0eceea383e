"""The end of a turn of the loop: what all calls of the turn have said goes out together, the journal's entries first.

So nothing leaves the process before the entry that must precede it: a request to a provider follows its Begin, a
settlement and the last bytes to a client follow their End. One write takes the entries of many calls.
"""

import asyncio
from collections.abc import Callable


class Turn:
    """One per process. `first` is done before anything that was said goes out; it must not raise."""

    __slots__ = ("_flushes", "_loop", "first", "is_due")

    def __init__(self, first: Callable[[], object] | None = None) -> None:
        self.first = first
        self._flushes: list[Callable[[], object]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_due = False

    def due(self) -> None:
        """Have it end before the loop looks for news."""
        if not self.is_due:
            self.is_due = True
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self.end)

    def add(self, flush: Callable[[], object]) -> None:
        """Have something written at its end. It must not raise."""
        if not self.is_due:
            self.due()
        self._flushes.append(flush)

    def end(self) -> None:
        """Write what is due."""
        self.is_due = False
        if self.first is not None:
            self.first()
        flushes, self._flushes = self._flushes, []
        for flush in flushes:
            flush()
