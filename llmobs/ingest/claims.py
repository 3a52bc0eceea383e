"""The claims that a batch's decision needs, loaded from PostgreSQL: whatever may be the same call as one of its spans.

1. All claims of the batch's traces (a span that is no call may join two that are), and all with its response ids at
   about its time.
2. For claims that give way: those without a response id at the same time, and the other way round.
3. What that brought in may bring in more (its trace, its response id): again, until nothing new comes.
4. The parents of all spans in traces that hold two claims or more: only there can one be inside another.

Run it inside the writer's transaction, after the tenant's advisory lock: between load and commit no other writer may
add a claim of the tenant.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from llmobs.core.clock import NS_PER_SECOND, ns_from_utc, utc_from_ns
from llmobs.ingest.count_once import CLOCK_SKEW_NS, ClaimInfo, Key, claim_of, has_claim
from llmobs.spans.record import Span

# Calls last at most this long: both official SDKs give up after 600 seconds unless told otherwise.
LONGEST_CALL_NS = 600 * NS_PER_SECOND
# Spans of one trace are at most this far from the claims that bring them in.
LONGEST_TRACE_NS = 86_400 * NS_PER_SECOND
# Each round follows one more relation; real reports need two. Beyond this bound the set is decided as it is.
MOST_ROUNDS = 6

_COLUMNS = (
    "c.trace_id, c.span_id, c.parent_span_id, c.start, c.finish, c.source, c.scope_name, c.yields, c.response_id, "
    "c.input_tokens, c.output_tokens, c.is_counted, c.bill_id"
)
_BY_TRACE = f"SELECT {_COLUMNS} FROM claim c WHERE c.tenant_id = %(tenant)s AND c.trace_id = ANY(%(traces)s)"  # noqa: S608
_BY_RESPONSE = (
    f"SELECT {_COLUMNS} FROM claim c WHERE c.tenant_id = %(tenant)s AND c.response_id = ANY(%(responses)s) "  # noqa: S608
    "AND c.response_id <> '' AND c.start BETWEEN %(earliest)s AND %(latest)s"
)
_AT_TIMES = (
    f"SELECT {_COLUMNS} FROM unnest(%(starts)s::timestamptz[], %(froms)s::timestamptz[], %(tos)s::timestamptz[]) "  # noqa: S608
    "AS w(earliest, begin, finish) JOIN claim c ON c.tenant_id = %(tenant)s "
    "AND c.start BETWEEN w.earliest AND w.finish AND c.finish >= w.begin AND "
)
_YIELDING = _AT_TIMES + "c.yields"
_WITHOUT_ID = _AT_TIMES + "c.response_id = '' AND NOT c.yields"
_PARENTS = (
    "SELECT trace_id, span_id, parent_span_id FROM span WHERE tenant_id = %s AND trace_id = ANY(%s) "
    "AND start BETWEEN %s AND %s ORDER BY start DESC"
)

Window = tuple[int, int]


@dataclass(frozen=True, slots=True)
class StoredClaim:
    """A row of `claim`: the claim, and how it was decided so far."""

    info: ClaimInfo
    is_counted: bool
    bill_id: int | None


@dataclass(slots=True)
class Related:
    """What `load_related` found. `claims` are stored ones, `own` the batch's; `parents` holds the batch's spans too."""

    claims: dict[Key, StoredClaim] = field(default_factory=dict)
    own: dict[Key, ClaimInfo] = field(default_factory=dict)
    parents: dict[Key, bytes | None] = field(default_factory=dict)


@dataclass(slots=True)
class KeysToLoad:
    """By what related claims are found: traces, response ids, and times for those that cannot be joined by id."""

    trace_ids: set[bytes] = field(default_factory=set)
    response_ids: set[str] = field(default_factory=set)
    yielding_at: list[Window] = field(default_factory=list)
    without_id_at: list[Window] = field(default_factory=list)
    from_ns: int = 0
    to_ns: int = 0

    def add(self, claim: ClaimInfo) -> None:
        self.trace_ids.add(claim.trace_id)
        self._widen(claim.start_ns, claim.end_ns)
        if claim.response_id:
            self.response_ids.add(claim.response_id)
        if claim.is_witness:
            return
        if claim.yields:
            self.without_id_at.append((claim.start_ns, claim.end_ns))
        elif not claim.response_id:
            self.yielding_at.append((claim.start_ns, claim.end_ns))

    def add_trace(self, span: Span) -> None:
        self.trace_ids.add(span.trace_id)
        self._widen(span.start_ns, span.end_ns)

    def _widen(self, start_ns: int, end_ns: int) -> None:
        if not self.from_ns or start_ns < self.from_ns:
            self.from_ns = start_ns
        if end_ns > self.to_ns:
            self.to_ns = end_ns


@dataclass(frozen=True, slots=True)
class Gathered:
    """What one tenant's spans say by themselves, and by what related claims are found."""

    spans: list[Span]
    own: dict[Key, ClaimInfo]
    parents: dict[Key, bytes | None]
    keys: KeysToLoad


def gather(spans: list[Span]) -> Gathered:
    """Of one tenant's spans; asks nobody, so it may be done before the lock."""
    found = Gathered(spans, {}, {(span.trace_id, span.span_id): span.parent_span_id for span in spans}, KeysToLoad())
    for span in spans:
        if has_claim(span):
            claim = found.own[span.trace_id, span.span_id] = claim_of(span)
            found.keys.add(claim)
        else:
            found.keys.add_trace(span)
    return found


def load_related(conn: psycopg.Connection[Any], tenant_id: int, gathered: Gathered, are_new: bool = False) -> Related:
    """All stored claims that the decision about these spans depends on, or that may change by it; one tenant's.

    `are_new`: none of the spans was stored before, so traces whose every parent is among them need no look.
    """
    related = Related(own=dict(gathered.own), parents=dict(gathered.parents))
    keys = gathered.keys
    traces, responses = set(keys.trace_ids), set(keys.response_ids)
    for _ in range(MOST_ROUNDS):
        found = [claim for claim in _load(conn, tenant_id, keys) if claim.info.key not in related.claims]
        keys = KeysToLoad()
        for stored in found:
            related.claims[stored.info.key] = stored
            keys.add(stored.info)
        keys.trace_ids -= traces
        keys.response_ids -= responses
        traces |= keys.trace_ids
        responses |= keys.response_ids
        if not found:
            break
    _load_parents(conn, tenant_id, gathered.spans, related, are_new)
    return related


def _load(conn: psycopg.Connection[Any], tenant_id: int, keys: KeysToLoad) -> Iterable[StoredClaim]:
    rows: dict[Key, StoredClaim] = {}
    for query, values in _queries(keys):
        for row in conn.execute(query, {"tenant": tenant_id, **values}).fetchall():
            claim = _stored(row)
            rows[claim.info.key] = claim
    return rows.values()


def _queries(keys: KeysToLoad) -> Iterable[tuple[str, dict[str, object]]]:
    if keys.trace_ids:
        yield _BY_TRACE, {"traces": sorted(keys.trace_ids)}
    if keys.response_ids:
        yield (
            _BY_RESPONSE,
            {
                "responses": sorted(keys.response_ids),
                "earliest": utc_from_ns(keys.from_ns - LONGEST_CALL_NS - CLOCK_SKEW_NS),
                "latest": utc_from_ns(keys.to_ns + CLOCK_SKEW_NS),
            },
        )
    if keys.yielding_at:
        yield _YIELDING, _window_values(keys.yielding_at)
    if keys.without_id_at:
        yield _WITHOUT_ID, _window_values(keys.without_id_at)


def _window_values(windows: list[Window]) -> dict[str, object]:
    merged = _merge(windows)
    return {
        "starts": [utc_from_ns(start - LONGEST_CALL_NS) for start, _ in merged],
        "froms": [utc_from_ns(start) for start, _ in merged],
        "tos": [utc_from_ns(end) for _, end in merged],
    }


def _merge(windows: list[Window]) -> list[Window]:
    merged: list[Window] = []
    for start, end in sorted(windows):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _stored(row: tuple[Any, ...]) -> StoredClaim:
    (trace_id, span_id, parent, start, finish, source, scope, yields, response_id, given, answered, is_counted,
     bill_id) = row  # fmt: skip
    info = ClaimInfo(
        trace_id=bytes(trace_id),
        span_id=bytes(span_id),
        parent_span_id=None if parent is None else bytes(parent),
        start_ns=_ns(start),
        end_ns=_ns(finish),
        source=source,
        scope_name=scope,
        yields=yields,
        response_id=response_id,
        usage=None if given is None else (given, answered),
    )
    return StoredClaim(info, is_counted, bill_id)


def _ns(at: datetime) -> int:
    return ns_from_utc(at)


def _load_parents(
    conn: psycopg.Connection[Any], tenant_id: int, spans: list[Span], related: Related, are_new: bool
) -> None:
    keys = set(related.claims) | {(span.trace_id, span.span_id) for span in spans if span.is_call}
    per_trace = Counter(trace_id for trace_id, _ in keys)
    traces = sorted(trace_id for trace_id, claims in per_trace.items() if claims > 1)
    if are_new and traces:
        unknown = _with_unknown_parents(related)
        traces = [trace_id for trace_id in traces if trace_id in unknown]
    if not traces:
        return
    times = [claim.info.start_ns for claim in related.claims.values()] + [span.start_ns for span in spans]
    between = (utc_from_ns(min(times) - LONGEST_TRACE_NS), utc_from_ns(max(times) + LONGEST_TRACE_NS))
    for trace_id, span_id, parent in conn.execute(_PARENTS, (tenant_id, traces, *between)).fetchall():
        # What is stored stands against what is sent again.
        related.parents[bytes(trace_id), bytes(span_id)] = None if parent is None else bytes(parent)


def _with_unknown_parents(related: Related) -> set[bytes]:
    """Traces in which something says a parent that is neither in the batch nor a claim."""
    known = related.parents
    found = {key[0] for key, parent in known.items() if parent is not None and (key[0], parent) not in known}
    stored = [claim.info for claim in related.claims.values()]
    return found | {
        claim.trace_id
        for claim in stored
        if claim.parent_span_id is not None and (claim.trace_id, claim.parent_span_id) not in known
    }
