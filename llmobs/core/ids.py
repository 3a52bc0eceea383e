"""Ids made by the application, so that no table needs an identity column (they fail on sharded partitions)."""

import os
import time
from itertools import count
from random import SystemRandom

TRACE_ID_BYTES = 16
SPAN_ID_BYTES = 8

_POOL_BYTES = 4096  # one system call for hundreds of ids

_sequence = count(SystemRandom().getrandbits(22))


class _Pool:
    """Random bytes of the system's, fetched many at a time. Taking is one step, so threads never share an id."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ids: list[bytes] = []
        os.register_at_fork(after_in_child=self._ids.clear)

    def take(self) -> bytes:
        try:
            return self._ids.pop()
        except IndexError:
            taken = os.urandom(_POOL_BYTES)
            size = self._size
            self._ids.extend([taken[at : at + size] for at in range(size, _POOL_BYTES, size)])
            return taken[:size]


new_trace_id = _Pool(TRACE_ID_BYTES).take  # 16 random bytes (W3C Trace Context)
new_span_id = _Pool(SPAN_ID_BYTES).take  # 8 random bytes (W3C Trace Context)


def new_row_id() -> int:
    """A 63-bit id that grows with time: 41 bits of milliseconds, 22 bits of a sequence begun at random.

    Two processes may meet on one id (about 1 in 4 million per shared millisecond): a unique key refuses
    the second, whose writer repeats its batch with new ids.
    """
    return (time.time_ns() // 1_000_000) << 22 | (next(_sequence) & 0x3FFFFF)
