"""Ids made by the application, so that no table needs an identity column (they fail on sharded partitions)."""

import os
import time
from itertools import count
from random import SystemRandom

TRACE_ID_BYTES = 16
SPAN_ID_BYTES = 8

_sequence = count(SystemRandom().getrandbits(22))


def new_trace_id() -> bytes:
    """16 random bytes (W3C Trace Context)."""
    return os.urandom(TRACE_ID_BYTES)


def new_span_id() -> bytes:
    """8 random bytes (W3C Trace Context)."""
    return os.urandom(SPAN_ID_BYTES)


def new_row_id() -> int:
    """A 63-bit id that grows with time: 41 bits of milliseconds, 22 bits of a sequence begun at random.

    Two processes may meet on one id (about 1 in 4 million per shared millisecond): a unique key refuses
    the second, whose writer repeats its batch with new ids.
    """
    return (time.time_ns() // 1_000_000) << 22 | (next(_sequence) & 0x3FFFFF)
