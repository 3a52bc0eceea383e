"""Deltas: what a batch adds to the roll-ups, or takes back; written in the batch's transaction, compacted later.

A call counts (calls, tokens, money, latency) where its span is counted; every span counts as a span. A call is
unpriced when it was answered or has usage, and no cost is known.

What the gateway tried several times counts attempt by attempt, each where it went. The call's own span, which is no
call, brings what makes one request of them: how many attempts they were, and how many of these failed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg

from llmobs.core import semconv
from llmobs.core.clock import NS_PER_SECOND
from llmobs.core.ids import new_row_id
from llmobs.rollups import sketch
from llmobs.spans.record import Span

DIMENSIONS = ("service", "environment", "feature", "key_id", "provider_name", "model", "status", "error_type")
SUMS = (
    "spans",
    "calls",
    "uncached_input_tokens",
    "cache_read_input_tokens",
    "cache_write_5m_input_tokens",
    "cache_write_1h_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
    "cost_nanousd",
    "estimated_nanousd",
    "estimated_calls",
    "unpriced_calls",
    "retried_calls",
    "retried_attempts",
    "retried_errors",
    "cached_calls",
    "saved_nanousd",
    "streamed_output_tokens",
    "streaming_ms",
)
SKETCHES = ("duration_buckets", "duration_counts", "ttft_buckets", "ttft_counts")
MEASURES = SUMS + SKETCHES
MEASURE_TYPES = ["int8"] * len(SUMS) + ["int2[]", "int8[]", "int2[]", "int8[]"]

_MINUTE_NS = 60 * NS_PER_SECOND
_DAY_NS = 86_400 * NS_PER_SECOND
_ANSWERED = (semconv.OK, semconv.DEGRADED)
CACHE_HITS = ("hit-exact", "hit-semantic")
NS_PER_MS = 1_000_000


def is_unpriced(span: Span) -> bool:
    """Whether a counted call cost something that nobody could tell us."""
    return span.cost_nanousd is None and (span.usage is not None or span.status in _ANSWERED)


def is_cache_hit(span: Span) -> bool:
    """Whether the gateway answered out of its cache, before its time: a stale answer is an emergency, no hit."""
    return span.attributes.get("llmobs.cache") in CACHE_HITS and span.source == semconv.SOURCE_GATEWAY


def streaming_ms(span: Span) -> int:
    """How long a stream's tokens took that its usage counts, from the first on; 0 where that is not known.

    Reasoning that was counted was partly done before the first token, so such streams say nothing of the speed.
    """
    usage = span.usage
    if not span.is_stream or span.ttft_ns is None or usage is None or span.is_estimated or usage.reasoning:
        return 0
    return max(span.duration_ns - span.ttft_ns, 0) // NS_PER_MS if span.status in _ANSWERED else 0


@dataclass(slots=True)
class Measures:
    """Sums (in the order of SUMS) and the two sketches of one group."""

    sums: list[int] = field(default_factory=lambda: [0] * len(SUMS))
    duration: sketch.Sketch = field(default_factory=dict)
    ttft: sketch.Sketch = field(default_factory=dict)

    def add(self, span: Span, spans: int, calls: int) -> None:
        """Count a span `spans` times and its call `calls` times (-1 takes back)."""
        sums = self.sums
        sums[0] += spans
        if not calls:
            if span.source == semconv.SOURCE_GATEWAY and not span.is_call:
                self._add_attempts(span, spans)
            return
        sums[1] += calls
        self._add_usage(span, calls)
        if span.cost_nanousd is not None:
            sums[8] += calls * span.cost_nanousd
        elif is_unpriced(span):
            sums[11] += calls
        if span.is_estimated:
            sums[9] += calls * (span.cost_nanousd or 0)
            sums[10] += calls
        if span.source == semconv.SOURCE_GATEWAY and is_cache_hit(span):
            sums[15] += calls
            sums[16] += calls * _number(span, "llmobs.saved_nanousd")
        if span.is_stream and (took_ms := streaming_ms(span)) and span.usage is not None:
            sums[17] += calls * span.usage.output_tokens
            sums[18] += calls * took_ms
        sketch.add(self.duration, sketch.bucket(span.duration_ns), calls)
        if span.ttft_ns is not None:
            sketch.add(self.ttft, sketch.bucket(span.ttft_ns), calls)

    def _add_usage(self, span: Span, calls: int) -> None:
        if span.usage is None:
            return
        sums, usage = self.sums, span.usage.plain()
        sums[2] += calls * usage.uncached_input
        sums[6] += calls * usage.output
        if usage.cache_read:
            sums[3] += calls * usage.cache_read
        if usage.cache_write_5m or usage.cache_write_1h:
            sums[4] += calls * usage.cache_write_5m
            sums[5] += calls * usage.cache_write_1h
        if usage.reasoning:
            sums[7] += calls * usage.reasoning

    def _add_attempts(self, span: Span, spans: int) -> None:
        if attempts := _number(span, "llmobs.attempts"):
            self.sums[12] += spans
            self.sums[13] += spans * attempts
            self.sums[14] += spans * _number(span, "llmobs.failed_attempts")

    def merge(self, values: tuple[Any, ...]) -> None:
        """Add a stored row's measures (in the order of MEASURES)."""
        count = len(SUMS)
        for index in range(count):
            self.sums[index] += values[index]
        sketch.merge(self.duration, values[count], values[count + 1])
        sketch.merge(self.ttft, values[count + 2], values[count + 3])

    def merge_measures(self, other: "Measures") -> None:
        """Add another group's."""
        self.sums = [mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]
        for into, of in ((self.duration, other.duration), (self.ttft, other.ttft)):
            for index, count in of.items():
                sketch.add(into, index, count)

    def row(self) -> tuple[Any, ...]:
        """As stored, in the order of MEASURES."""
        return (*self.sums, *sketch.arrays(self.duration), *sketch.arrays(self.ttft))

    def is_empty(self) -> bool:
        return not any(self.sums) and not self.duration and not self.ttft


def _number(span: Span, attribute: str) -> int:
    value = span.attributes.get(attribute)
    return value if isinstance(value, int) else 0


@dataclass(slots=True)
class UserDay:
    """A user's day: no sketch, so that many users cost little."""

    calls: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nanousd: int = 0
    unpriced_calls: int = 0


class Deltas:
    """What one batch changes. Adding is order-free."""

    def __init__(self) -> None:
        self._groups: dict[tuple[Any, ...], Measures] = {}
        self._users: dict[tuple[int, int, str], UserDay] = {}

    def add(self, span: Span, spans: int, calls: int) -> None:
        """Count a span `spans` times and its call `calls` times (1 new, -1 taken back, 0 not this)."""
        who = span.attribution
        key = (
            span.tenant_id,
            span.start_ns // _MINUTE_NS * 60,
            who.service,
            who.environment,
            who.feature,
            who.key_id,
            span.provider_name,
            span.model,
            span.status,
            span.error_type,
        )
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Measures()
        group.add(span, spans, calls)
        if calls and who.user_id:
            self._add_user(span, calls)

    def _add_user(self, span: Span, calls: int) -> None:
        key = (span.tenant_id, span.start_ns // _DAY_NS, span.attribution.user_id)
        user = self._users.get(key)
        if user is None:
            user = self._users[key] = UserDay()
        user.calls += calls
        if span.status in semconv.ERROR_STATUSES:
            user.errors += calls
        if span.usage is not None:
            user.input_tokens += calls * span.usage.input_tokens
            user.output_tokens += calls * span.usage.output_tokens
        if span.cost_nanousd is not None:
            user.cost_nanousd += calls * span.cost_nanousd
        elif is_unpriced(span):
            user.unpriced_calls += calls

    def write(self, conn: psycopg.Connection[Any]) -> None:
        """Into `rollup_delta` and `rollup_user_day`. Commits nothing itself."""
        if self._groups:
            self._write_groups(conn)
        if self._users:
            self._write_users(conn)

    def _write_groups(self, conn: psycopg.Connection[Any]) -> None:
        columns = ("tenant_id", "delta_id", "minute", *DIMENSIONS, *MEASURES)
        types = ["int8", "int8", "timestamptz", "text", "text", "text", "int8", "text", "text", "text", "text"]
        statement = f"COPY rollup_delta ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
        with conn.cursor() as cur, cur.copy(statement) as copy:
            copy.set_types(types + MEASURE_TYPES)
            for (tenant_id, minute, *dimensions), measures in self._groups.items():
                if not measures.is_empty():
                    at = datetime.fromtimestamp(minute, UTC)
                    copy.write_row((tenant_id, new_row_id(), at, *dimensions, *measures.row()))

    def _write_users(self, conn: psycopg.Connection[Any]) -> None:
        # Sorted, so that two writers lock the same users in the same order.
        columns = list(zip(*self._user_rows(), strict=True))
        conn.execute(
            "INSERT INTO rollup_user_day AS u (tenant_id, day, user_id, calls, errors, input_tokens, output_tokens, "
            "cost_nanousd, unpriced_calls) SELECT t, date '1970-01-01' + d, w, c, e, i, o, n, p FROM unnest("
            "%s::bigint[], %s::int[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], "
            "%s::bigint[], %s::bigint[]) AS x (t, d, w, c, e, i, o, n, p) "
            "ON CONFLICT (tenant_id, day, user_id) DO UPDATE SET calls = u.calls + excluded.calls, "
            "errors = u.errors + excluded.errors, input_tokens = u.input_tokens + excluded.input_tokens, "
            "output_tokens = u.output_tokens + excluded.output_tokens, "
            "cost_nanousd = u.cost_nanousd + excluded.cost_nanousd, "
            "unpriced_calls = u.unpriced_calls + excluded.unpriced_calls",
            [list(column) for column in columns],
        )

    def _user_rows(self) -> Iterator[tuple[Any, ...]]:
        for key in sorted(self._users):
            u = self._users[key]
            yield (*key, u.calls, u.errors, u.input_tokens, u.output_tokens, u.cost_nanousd, u.unpriced_calls)
