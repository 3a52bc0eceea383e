"""What was measured, for the capacity plan: put in a new figure here, then `python -m tests.bench.capacity --write`.

Each figure is of one process on one core of the machine that ran the bench, in CPU time, which other work on it hardly
changes. `docs/capacity.md` is made of these and of the rules in `capacity.py`; a test compares them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """One measured figure with what measured it."""

    value: float
    unit: str
    what: str
    source: str


GATEWAY = "python -m tests.bench gateway"
INGEST = "python -m tests.bench ingest"

GATEWAY_MS = Cost(0.120, "ms CPU", "a gateway, of a 1 KB call with key, two limits, two budgets and its span", GATEWAY)
CHUNK_US = Cost(19.2, "µs CPU", "a gateway, of one chunk of a streamed answer", GATEWAY)
VALKEY_MS = Cost(0.046, "ms CPU", "Valkey, of the same call: its admission and its settlement", GATEWAY)
TWO_GATEWAYS = Cost(1.80, "times", "two gateways against one, on two cores", GATEWAY)
SPAN_US = Cost(105.0, "µs CPU", "all processes, of a span from its arrival to its last row", INGEST)
STORE_SHARE = Cost(0.33, "of it", "PostgreSQL's part of that; the rest is writers, collectors, compaction", INGEST)
SPAN_BYTES = Cost(2200.0, "bytes", "a span on disk: contents, bill, claim, trace, all indexes", INGEST)
GATEWAY_MB = Cost(104.0, "MB", "a gateway's memory at its peak", GATEWAY)

ALL = (GATEWAY_MS, CHUNK_US, VALKEY_MS, TWO_GATEWAYS, SPAN_US, STORE_SHARE, SPAN_BYTES, GATEWAY_MB)
