"""OpenTelemetry's context into threads, where Python does not take it by itself (asyncio's tasks have it anyway).

Tasks of a ThreadPoolExecutor run in the context in which they were submitted, and threads in the one in which they were
started, but for daemons: those are workers that outlive whoever started them, and serve others too.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from opentelemetry import context

T = TypeVar("T")


def carry(function: Callable[..., T]) -> Callable[..., T]:
    """The function, to be run elsewhere in the context of here: its spans are children of the current span."""
    here = context.get_current()

    @functools.wraps(function)
    def carried(*args: Any, **kwargs: Any) -> T:
        token = context.attach(here)
        try:
            return function(*args, **kwargs)
        finally:
            context.detach(token)

    return carried


class Threads:
    """Replaces `ThreadPoolExecutor.submit` and `Thread.start` by ones that carry, until `leave`."""

    def __init__(self) -> None:
        self._submit = ThreadPoolExecutor.submit
        self._start = threading.Thread.start
        self._ours: tuple[Callable[..., Any], ...] = ()

    def enter(self) -> None:
        submit, start = self._submit, self._start

        def carrying_submit(
            self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
        ) -> Future[Any]:
            return submit(self, carry(fn), *args, **kwargs)

        @functools.wraps(start)
        def carrying_start(self: threading.Thread) -> None:
            if context.get_current() and not self.daemon and not _is_pool_worker(self):
                run = carry(self.run)

                def once() -> None:
                    del self.run  # or the thread would hold itself
                    run()

                self.run = once  # type: ignore[method-assign]
            start(self)

        self._ours = carrying_submit, carrying_start
        ThreadPoolExecutor.submit = carrying_submit  # type: ignore[assignment, method-assign]
        threading.Thread.start = carrying_start  # type: ignore[method-assign]

    def leave(self) -> None:
        """As before, unless others have replaced them since."""
        if ThreadPoolExecutor.submit in self._ours:
            ThreadPoolExecutor.submit = self._submit  # type: ignore[method-assign]
        if threading.Thread.start in self._ours:
            threading.Thread.start = self._start  # type: ignore[method-assign]


def _is_pool_worker(thread: threading.Thread) -> bool:
    return getattr(getattr(thread, "_target", None), "__module__", "") == "concurrent.futures.thread"
