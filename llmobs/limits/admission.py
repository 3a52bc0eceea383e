"""What the scripts are given and what they answer (limits/scripts.py tells the algorithm); no I/O.

A section's keys and arguments follow those of the sections before it in the gateway's admission script, and its part
of the reply does too: `parse_granted` says where the next part begins.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from llmobs.limits.definition import AppliedLimit
from llmobs.limits.units import CONCURRENT, MOST, STEPS

LEASE_SECONDS = 60  # of a call under way; renewed well before
LIMIT = b"l"  # which section refused: second word of a refusal

Words = tuple[list[str], list[str]]


def ask(asked: Sequence[tuple[AppliedLimit, int]], member: str) -> Words:
    """Keys and arguments of the section: amounts to take of each limit; `member` names the call among those at once."""
    keys, args = [], [str(len(asked))]
    for applied, amount in asked:
        keys.append(applied.key)
        args += applied.head
        args.append(f"{LEASE_SECONDS}:{member}" if applied.limit.unit == CONCURRENT else str(min(max(amount, 0), MOST)))
    return keys, args


NOTHING_ASKED: Words = ([], ["0"])


class Taken(msgspec.Struct, frozen=True):
    """All was taken at `at_s` of the server's clock. Of each limit: what is left, seconds until some comes back."""

    at_s: int
    left: tuple[int, ...]
    back_seconds: tuple[int, ...]


class Exceeded(msgspec.Struct, frozen=True):
    """The limit at `index` of those asked would be passed; nothing was taken. `wait_seconds` None: it never fits."""

    index: int
    used: int
    limit: int
    wait_seconds: int | None


def is_exceeded(reply: Sequence[Any]) -> bool:
    """Whether the admission script's reply is a refusal by a limit."""
    return reply[0] == 0 and reply[1] in (LIMIT, "l")


def parse_exceeded(reply: Sequence[Any]) -> Exceeded:
    """Which limit refused, and why."""
    index, used, limit, wait = reply[2:6]
    return Exceeded(index, used, limit, None if wait < 0 else max(wait, 1))


def parse_taken(reply: Sequence[Any], position: int, count: int) -> tuple[Taken, int]:
    """The section's part of a grant for `count` (one or more) limits, and where the next part begins."""
    end = position + 1 + 2 * count
    return Taken(reply[position], tuple(reply[position + 1 : end : 2]), tuple(reply[position + 2 : end : 2])), end


def settle(taken_at_s: int, changes: Iterable[tuple[AppliedLimit, int]], member: str) -> Words:
    """Keys and arguments of SETTLE: how much more (or less) than taken each limit is to count."""
    keys: list[str] = []
    args: list[str] = []
    for applied, change in changes:
        if applied.limit.unit == CONCURRENT:
            keys.append(applied.key)
            args += ("", member)
        elif change:
            keys.append(applied.key)
            args += (str(taken_at_s // STEPS[applied.limit.per][0]), str(change))
    return keys, args


def renew(key: str, members: Iterable[str]) -> Words:
    """Keys and arguments of RENEW."""
    return [key], [str(LEASE_SECONDS), *members]
