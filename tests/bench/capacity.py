"""The capacity plan's tables from measured costs (`costs.py`): `python -m tests.bench.capacity [--write]`.

A request is a call of 1 KB through the gateway that becomes one span. Machines are used to USED of their cores, so that
one of several hosts may go. Streams, and spans that applications report besides, are added as asked.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from tests.bench.costs import (
    ALL,
    CHUNK_US,
    GATEWAY_MB,
    GATEWAY_MS,
    SPAN_BYTES,
    SPAN_US,
    STORE_SHARE,
    TWO_GATEWAYS,
    VALKEY_MS,
)

PAGE = Path(__file__).parents[2] / "docs" / "capacity.md"
RATES = (1_000, 10_000, 100_000)  # requests a second
USED = 0.6  # of a core, at the busiest minute
HOST_CORES = 8
BODY_KB = 4  # of a 1 KB call and its answer, each once in and once out
STREAMED, CHUNKS = 1 / 3, 100  # the second table: so many calls are streamed, of so many chunks
TWICE_TOLD = 2  # the third: each call is reported by its application too
DAYS = (1, 30, 90)
SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Plan:
    """Cores at full use, by process, and bytes, at a rate."""

    rate: int
    chunks: float = 0.0  # of an average request
    spans: float = 1.0  # of a request

    @property
    def gateway(self) -> float:
        apart = self.rate * (GATEWAY_MS.value / 1e3 + self.chunks * CHUNK_US.value / 1e6)
        return apart / (TWO_GATEWAYS.value / 2)

    @property
    def valkey(self) -> float:
        return self.rate * VALKEY_MS.value / 1e3

    @property
    def writing(self) -> float:
        """Of collectors, writers and the worker that compacts."""
        return self.rate * self.spans * SPAN_US.value / 1e6 * (1 - STORE_SHARE.value)

    @property
    def postgres(self) -> float:
        return self.rate * self.spans * SPAN_US.value / 1e6 * STORE_SHARE.value

    @property
    def hosts(self) -> int:
        """Of all but the stores; one more than they need, two at least."""
        return ceil((self.gateway + self.writing) / (HOST_CORES * USED)) + 1

    @property
    def gateways(self) -> int:
        return ceil(self.gateway / USED)

    @property
    def shards(self) -> int:
        """Of Valkey, which runs its scripts on one core."""
        return ceil(self.valkey / USED)

    @property
    def bytes_a_day(self) -> float:
        return self.rate * self.spans * SPAN_BYTES.value * SECONDS_A_DAY


def tables() -> dict[str, str]:
    """Each table of the page by its name."""
    return {
        "measured": _measured(),
        "plain": _needs([Plan(rate) for rate in RATES]),
        "streamed": _needs([Plan(rate, chunks=STREAMED * CHUNKS) for rate in RATES]),
        "told twice": _needs([Plan(rate, spans=TWICE_TOLD) for rate in RATES]),
        "disk": _disk(),
        "bounds": _bounds(),
    }


def _measured() -> str:
    rows = [(f"{cost.value:g} {cost.unit}", cost.what, f"`{cost.source}`") for cost in ALL]
    return _table(("figure", "of what", "measured by"), rows)


def _needs(plans: list[Plan]) -> str:
    rows = [
        ("gateways, cores", *(_cores(plan.gateway) for plan in plans)),
        ("gateway processes", *(f"{plan.gateways:,}" for plan in plans)),
        ("collectors, writers, worker, cores", *(_cores(plan.writing) for plan in plans)),
        (f"hosts of {HOST_CORES} cores for these", *(f"{plan.hosts:,}" for plan in plans)),
        ("memory of gateways", *(_bytes(plan.gateways * GATEWAY_MB.value * 1e6) for plan in plans)),
        ("Valkey, cores", *(_cores(plan.valkey) for plan in plans)),
        ("Valkey, shards", *(f"{plan.shards:,}" for plan in plans)),
        ("PostgreSQL, cores for writing", *(_cores(plan.postgres) for plan in plans)),
        ("rows on disk", *(f"{_bytes(plan.bytes_a_day / SECONDS_A_DAY)}/s" for plan in plans)),
        ("network of gateways", *(f"{_bytes(plan.rate * BODY_KB * 1e3)}/s" for plan in plans)),
    ]
    return _table(("", *(f"{plan.rate:,}/s" for plan in plans)), rows)


def _disk() -> str:
    rows = [(f"{days} days", *(_bytes(Plan(rate).bytes_a_day * days) for rate in RATES)) for days in DAYS]
    return _table(("spans kept for", *(f"{rate:,}/s" for rate in RATES)), rows)


def _bounds() -> str:
    """How many requests a second one of each can do, at USED of what it has."""
    valkey = USED / (VALKEY_MS.value / 1e3)
    host = HOST_CORES * USED / (Plan(1).gateway + Plan(1).writing)
    store = 16 * USED / Plan(1).postgres
    rows = [
        ("one Valkey", f"{valkey:,.0f}/s"),
        (f"one host of {HOST_CORES} cores", f"{host:,.0f}/s"),
        ("one PostgreSQL of 16 cores, by CPU alone", f"{store:,.0f}/s"),
    ]
    return _table(("", "requests"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cores(cores: float) -> str:
    return f"{cores:.2f}" if cores < 10 else f"{cores:.0f}"


def _bytes(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.3g} KB"


def put_in(page: str) -> str:
    """The page with every table made anew, each after its mark."""
    for name, table in tables().items():
        marked = re.compile(rf"(<!-- table: {re.escape(name)} -->\n)(?:\|.*\n)*")
        page, count = marked.subn(lambda found, table=table: f"{found[1]}{table}\n", page)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"the page has {count} marks of the table {name!r}; one is needed")
    return page


def main(words: list[str]) -> None:
    if "--write" in words:
        PAGE.write_text(put_in(PAGE.read_text()))
        return
    for name, table in tables().items():
        print(f"{name}\n{table}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
