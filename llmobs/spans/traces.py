"""A trace's totals: what a batch adds to it, merged into the row that is there.

Totals of calls count only calls that count (count once), errors and spans count all. The name and the status are the
root's; until the root has come, the earliest span's name and the worst status.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import psycopg

from llmobs.core import semconv
from llmobs.core.clock import NS_PER_SECOND
from llmobs.spans.record import Span

# From harmless to bad: which status stands for a trace without a root.
SEVERITY = (
    semconv.OK,
    semconv.DEGRADED,
    semconv.REFUSED,
    semconv.ABANDONED,
    semconv.CUT_OFF,
    semconv.TIMED_OUT,
    semconv.FAILED,
)
_RANK = {status: rank for rank, status in enumerate(SEVERITY)}
_ANSWERED = (semconv.OK, semconv.DEGRADED)
_DAY_NS = 86_400 * NS_PER_SECOND

_SUMS = (
    "span_count",
    "call_count",
    "error_count",
    "input_tokens",
    "output_tokens",
    "cost_nanousd",
    "priced_count",
    "unpriced_count",
    "estimated_count",
)
_WHO = ("feature", "environment", "user_id", "session_id")


@dataclass(slots=True)
class TraceSum:
    """What one batch adds to one trace."""

    start_ns: int
    finish_ns: int
    first: Span
    root: Span | None = None
    worst: str = semconv.OK
    sums: list[int] = field(default_factory=lambda: [0] * len(_SUMS))
    models: set[str] = field(default_factory=set)
    who: list[str] = field(default_factory=lambda: [""] * len(_WHO))

    def add(self, span: Span, spans: int, calls: int) -> None:
        """Count a span `spans` times and its call `calls` times (-1 takes back)."""
        if span.start_ns < self.start_ns:
            self.start_ns, self.first = span.start_ns, span
        if (end_ns := span.start_ns + span.duration_ns) > self.finish_ns:
            self.finish_ns = end_ns
        if span.parent_span_id is None and self.root is None:
            self.root = span
        if span.status != self.worst and _RANK.get(span.status, 0) > _RANK.get(self.worst, 0):
            self.worst = span.status
        if span is self.root or "" in self.who:
            self._attribute(span)
        self.sums[0] += spans
        if span.status in semconv.ERROR_STATUSES:
            self.sums[2] += spans
        if calls:
            self._count_call(span, calls)

    def _attribute(self, span: Span) -> None:
        """Of a trace what its root says, else what was said first."""
        given = span.attribution
        values = (given.feature, given.environment, given.user_id, given.session_id)
        for index, value in enumerate(values):
            if value and (not self.who[index] or span is self.root):
                self.who[index] = value

    def _count_call(self, span: Span, calls: int) -> None:
        sums = self.sums
        sums[1] += calls
        if span.usage is not None:
            sums[3] += calls * span.usage.input_tokens
            sums[4] += calls * span.usage.output_tokens
        if span.cost_nanousd is not None:
            sums[5] += calls * span.cost_nanousd
            sums[6] += calls
        elif span.usage is not None or span.status in _ANSWERED:
            sums[7] += calls
        if span.is_estimated:
            sums[8] += calls
        if calls > 0 and (model := span.model):
            self.models.add(model)

    def row(self, tenant_id: int, trace_id: bytes) -> dict[str, Any]:
        """As the statement below takes it."""
        shown = self.root or self.first
        return {
            "tenant_id": tenant_id,
            "trace_id": trace_id.hex(),
            "day": self.start_ns // _DAY_NS,
            "start_us": self.start_ns // 1000,
            "finish_us": self.finish_ns // 1000,
            "root_span_id": self.root.span_id.hex() if self.root else None,
            "name": shown.name,
            "status": self.root.status if self.root else self.worst,
            "models": sorted(self.models),
            **dict(zip(_SUMS, self.sums, strict=True)),
            **dict(zip(_WHO, self.who, strict=True)),
        }


class TraceSums:
    """What one batch adds to its traces."""

    def __init__(self) -> None:
        self._traces: dict[tuple[int, bytes], TraceSum] = {}

    def add(self, span: Span, spans: int, calls: int) -> None:
        key = (span.tenant_id, span.trace_id)
        trace = self._traces.get(key)
        if trace is None:
            trace = self._traces[key] = TraceSum(span.start_ns, span.end_ns, span)
        trace.add(span, spans, calls)

    def write(self, conn: psycopg.Connection[Any]) -> None:
        """Into `trace`, in the order of keys, so that two writers cannot lock each other out. Commits nothing."""
        rows: Iterable[dict[str, Any]] = (self._traces[key].row(*key) for key in sorted(self._traces))
        if self._traces:
            conn.execute(_UPSERT, (msgspec.json.encode(list(rows)).decode(),))


_COLUMNS = (
    "tenant_id, trace_id, day, start, finish, root_span_id, name, status, models, "
    f"{', '.join(_SUMS)}, {', '.join(_WHO)}"
)
_RANKS = "ARRAY[" + ", ".join(f"'{status}'" for status in SEVERITY) + "]"
_UPSERT = f"""
INSERT INTO trace AS t ({_COLUMNS})
SELECT tenant_id, decode(trace_id, 'hex'), date '1970-01-01' + day,
       timestamptz 'epoch' + start_us * interval '1 microsecond',
       timestamptz 'epoch' + finish_us * interval '1 microsecond',
       decode(root_span_id, 'hex'), name, status, models, {", ".join(_SUMS)}, {", ".join(_WHO)}
FROM json_to_recordset(%s) AS x (
    tenant_id bigint, trace_id text, day int, start_us bigint, finish_us bigint, root_span_id text, name text,
    status text, models text[], {", ".join(f"{name} bigint" for name in _SUMS)},
    {", ".join(f"{name} text" for name in _WHO)})
ON CONFLICT (tenant_id, trace_id, day) DO UPDATE SET
    start = LEAST(t.start, excluded.start),
    finish = GREATEST(t.finish, excluded.finish),
    root_span_id = COALESCE(t.root_span_id, excluded.root_span_id),
    name = CASE WHEN t.root_span_id IS NOT NULL THEN t.name
        WHEN excluded.root_span_id IS NOT NULL OR excluded.start < t.start THEN excluded.name ELSE t.name END,
    status = CASE WHEN t.root_span_id IS NOT NULL THEN t.status
        WHEN excluded.root_span_id IS NOT NULL THEN excluded.status
        WHEN array_position({_RANKS}, excluded.status) > array_position({_RANKS}, t.status) THEN excluded.status
        ELSE t.status END,
    models = CASE WHEN excluded.models <@ t.models THEN t.models
        ELSE ARRAY(SELECT DISTINCT m FROM unnest(t.models || excluded.models) AS m ORDER BY m) END,
    {", ".join(f"{name} = t.{name} + excluded.{name}" for name in _SUMS)},
    {
    ", ".join(
        f"{name} = CASE WHEN t.{name} = '' OR (excluded.root_span_id IS NOT NULL AND excluded.{name} <> '') "
        f"THEN excluded.{name} ELSE t.{name} END"
        for name in _WHO
    )
}
"""  # noqa: S608 (columns from constants; values are bound)
