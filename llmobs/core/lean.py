"""Less memory for a process that there are several of a host, and that lives long: called before all else is loaded.

Libraries load others where those are installed, for what we never ask of them: to this process they are not there.
(glibc told to give back pieces of 256 KB at once saves 5 MB more of a writer under load, and costs 8 µs of CPU a span.)
"""

import ctypes
import sys

# glibc's `mallopt`: from which size on a piece is a mapping of its own, and how much of the heap's end is kept.
_MAPPED_FROM, _TRIMMED_FROM = -3, -1
_MAPPED_BYTES, _TRIMMED_BYTES = 4 * 1024 * 1024, 8 * 1024 * 1024

# By whom each would be loaded, and what for.
UNUSED = (
    "rich",  # structlog: tracebacks in colour; with pygments and attrs 4 MB
    "greenlet",  # structlog: contexts of a library that we do not use; 1 MB
    "opentelemetry.sdk",  # redis: metrics of its own; 2 MB
)


def leave_out(names: tuple[str, ...] = UNUSED) -> None:
    """To import these fails from now on, as if they were not installed."""
    for name in names:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # Python's own mark for this


def keep_freed() -> None:
    """Up to 8 MB that were freed stay this process's; nothing happens where the allocator is not glibc's.

    A collector frees and takes a megabyte for each report: what is given back to the kernel in between is faulted in
    and zeroed anew, page by page.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_MAPPED_FROM, _MAPPED_BYTES)
    mallopt(_TRIMMED_FROM, _TRIMMED_BYTES)
