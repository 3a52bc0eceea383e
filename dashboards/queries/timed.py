"""A percentile explained: out of the sketch that pages read, and exactly, out of the calls themselves."""

# ruff: noqa: S608 - names in the SQL are constants of this package, values are always bound

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dashboards.queries.figure import minute_after
from dashboards.queries.rollup import COLUMNS, latencies, merged
from dashboards.queries.scope import Cursor, Scope
from llmobs.core.semconv import REFUSED, SOURCE_GATEWAY
from llmobs.rollups.sketch import RATIO, bucket

PERCENTILES = {
    "p50": ("duration", 0.5), "p95": ("duration", 0.95), "p99": ("duration", 0.99),
    "ttft_p50": ("ttft", 0.5), "ttft_p95": ("ttft", 0.95), "ttft_p99": ("ttft", 0.99),
}  # fmt: skip
MOST_TIMED = 2_000_000  # calls that are put in order at once
SLOWEST = 50
# As `Span.model` has it: of our own gateway's calls what was sent upstream, of others who answered.
MODEL = (
    f"CASE WHEN source = {SOURCE_GATEWAY} THEN coalesce(nullif(request_model, ''), response_model) "
    "ELSE coalesce(nullif(response_model, ''), request_model) END"
)


@dataclass(frozen=True)
class TimedCall:
    """A call at or above the percentile."""

    trace_id: str
    span_id: str
    start: datetime
    provider_name: str
    model: str
    status: str
    ns: int


@dataclass(frozen=True)
class Timed:
    """Shown out of the sketch of `calls`; exactly, out of `exact_calls`. None: no call, or too many for once."""

    words: str
    share: float
    shown_ms: float | None
    calls: int
    exact_ms: float | None
    exact_calls: int | None
    slowest: list[TimedCall]

    @property
    def bucket_ms(self) -> tuple[float, float] | None:
        """The bucket of the sketch that it lies in: from, to."""
        if self.shown_ms is None:
            return None
        index = bucket(round(self.shown_ms * 1e6))
        return RATIO ** (index - 1), RATIO**index

    @property
    def difference_ms(self) -> float | None:
        return None if self.exact_ms is None or self.shown_ms is None else self.shown_ms - self.exact_ms

    @property
    def is_equal(self) -> bool:
        """Whether the sketch has the calls that there are, and its bucket the exact percentile."""
        if self.exact_calls is None:
            return True
        within = self.bucket_ms
        if within is None or self.exact_ms is None:
            return self.calls == self.exact_calls
        return self.calls == self.exact_calls and within[0] * 0.999999 < self.exact_ms <= within[1] * 1.000001


def of_percentile(cursor: Cursor, scope: Scope, name: str) -> Timed:
    """One of PERCENTILES, of calls with these dimensions. Raises ValueError for dimensions that roll-ups lack."""
    given = scope.filters.given
    unknown = sorted(given.keys() - COLUMNS.keys())
    if unknown:
        raise ValueError(f"percentiles are not kept by {' or '.join(unknown)}: ask without")
    kind, share = PERCENTILES[name]
    sketch = merged(latencies(cursor, scope, of=kind))
    where, values = _spans(scope, f"{kind}_ns")
    of = ", ".join(f"{name} {value or 'not named'}" for name, value in given.items()) or "all calls"
    what = "time to first token" if kind == "ttft" else "latency"
    words = f"{name.removeprefix('ttft_')} of the {what} of {of}"
    shown_ms, slowest = sketch.quantile_ms(share), _slowest(cursor, kind, where, values)
    if sketch.n > MOST_TIMED:
        return Timed(words, share, shown_ms, sketch.n, None, None, slowest)
    cursor.execute(
        f"SELECT percentile_disc(%s) WITHIN GROUP (ORDER BY {kind}_ns), count(*) FROM span WHERE {where}",
        [share, *values],
    )
    exact_ns, calls = cursor.fetchone()
    exact_ms = None if exact_ns is None else exact_ns / 1e6
    return Timed(words, share, shown_ms, sketch.n, exact_ms, calls, slowest)


def _spans(scope: Scope, timed: str) -> tuple[str, list[Any]]:
    """The calls that count, as roll-ups take them: whole minutes."""
    start, end = scope.window.start.replace(second=0, microsecond=0), minute_after(scope.window.end)
    parts = ["tenant_id = ANY(%s)", "start >= %s", "start < %s", "is_counted", f"status <> '{REFUSED}'"]
    parts += [f"{timed} IS NOT NULL"]
    values: list[Any] = [list(scope.tenant_ids), start, end]
    for name, value in scope.filters.given.items():
        parts.append(f"{MODEL if name == 'model' else COLUMNS[name]} = %s")
        values.append(value)
    return " AND ".join(parts), values


def _slowest(cursor: Cursor, kind: str, where: str, values: list[Any]) -> list[TimedCall]:
    cursor.execute(
        f"SELECT trace_id, span_id, start, provider_name, {MODEL}, status, {kind}_ns FROM span WHERE {where} "
        f"ORDER BY {kind}_ns DESC, start DESC LIMIT %s",
        [*values, SLOWEST],
    )
    return [
        TimedCall(bytes(trace_id).hex(), bytes(span_id).hex(), *rest) for trace_id, span_id, *rest in cursor.fetchall()
    ]
