"""Start a process that ends with us: in its own session, its output in a log file, told when its parent dies."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def spawn(
    command: Sequence[str],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    death_signal: int = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a child that gets `death_signal` when we die, however we die (Linux; elsewhere it lives on).

    A session of its own keeps Ctrl-C away from it: we end our children ourselves, in their order. Call it from
    the main thread: Linux ties the signal to the thread that started the child.
    """
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own commands, no shell
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(os.environ if env is None else env),
            pass_fds=tuple(pass_fds),
            start_new_session=True,
            preexec_fn=_tied_to_parent(death_signal),
        )


def _tied_to_parent(death_signal: int) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return tie
