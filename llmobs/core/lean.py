"""Less memory for a process that there are several of a host, and that lives long: called before all else is loaded.

1. Libraries load others where those are installed, for what we never ask of them: to this process they are not there.
2. glibc's bound between short and long pieces of memory grows with what is asked for, and what lies below is kept:
   bodies of some 100 KB leave holes that stay. With a bound that stands, a long piece is given back when it is freed.
"""

import ctypes
import sys

# By whom each would be loaded, and what for.
UNUSED = (
    "rich",  # structlog: tracebacks in colour; with pygments and attrs 4 MB
    "greenlet",  # structlog: contexts of a library that we do not use; 1 MB
    "opentelemetry.sdk",  # redis: metrics of its own; 2 MB
)
LONG_BYTES = 256 * 1024
_M_MMAP_THRESHOLD = -3  # malloc.h


def leave_out(names: tuple[str, ...] = UNUSED) -> None:
    """To import these fails from now on, as if they were not installed."""
    for name in names:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # Python's own mark for this


def give_back(long_bytes: int = LONG_BYTES) -> bool:
    """Of this length on, memory is the system's again once it is free. False where the C library cannot be told so."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_THRESHOLD, long_bytes))
