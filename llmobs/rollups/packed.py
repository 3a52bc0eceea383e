"""Sketches as they are read: packed by PostgreSQL (the function `rollup_packed`) into a word for each bucket.

A word is four bytes, the highest first: ZERO and 11 bits for the bucket (from LOWEST on), a bit ABOVE, BITS for the
count. A count that these do not hold, or a negative one, has a second word, with ABOVE set, whose bits, signed, count
what is above them: up to 549 billion calls. Words of one bucket are added up like those of several sketches.
"""

BITS = 20
ABOVE = 1 << BITS
LOWEST = -349  # below the bucket of the shortest duration, `sketch.LEAST_MS`
ZERO = -(1 << 31)
UNPACKED = frozenset({"rollup_delta", "rollup_minute"})  # packed as they are read: few rows of them ever are


def packed(table: str, of: str) -> str:
    """The sketch `of` duration or ttft of a table's rows, as SQL."""
    return f"rollup_packed({of}_buckets, {of}_counts)" if table in UNPACKED else f"{of}_packed"
