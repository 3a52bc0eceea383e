"""Logs of the processes without Django: lines on stdout. A line that cannot be written is let go, never the process.

On a full disk the log's file takes nothing: whoever logs has something better to do than to die of it.
"""

import structlog


class _Lines:
    """As structlog's PrintLogger, but a line may be lost."""

    def msg(self, line: str) -> None:
        try:
            print(line, flush=True)
        except OSError:
            pass

    log = debug = info = warning = warn = error = err = critical = fatal = exception = failure = msg


def set_up() -> None:
    """For this process, before its first line."""
    structlog.configure(logger_factory=lambda *_: _Lines())
