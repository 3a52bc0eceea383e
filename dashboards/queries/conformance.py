"""What could not be explained in reported spans: per library, version and adapter, as the writer has metered it."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from dashboards.queries.scope import Cursor
from llmobs.ingest.conformance import CALLS, MISSING, OTHERS, SPANS
from llmobs.ingest.otlp.adapters import spelled
from llmobs.ingest.otlp.remarks import CORRECTION, CORRECTIONS, FLAG, FLAGS, UNKNOWN

MOST_ROWS = 5000


@dataclass(frozen=True)
class Remark:
    """An unknown attribute, a correction or a flag of one library, and the last span that it was counted of."""

    kind: str
    name: str
    count: int
    trace_id: str
    span_id: str
    library: "Library"

    @property
    def words(self) -> str:
        """What it means; "" for an attribute, which nobody has explained."""
        return {CORRECTION: CORRECTIONS, FLAG: FLAGS}.get(self.kind, {}).get(self.name, "")


@dataclass
class Library:
    """What one version of a library sent, read by one version of an adapter."""

    name: str
    version: str
    adapter: str
    spans: int = 0
    calls: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    unknown: list[Remark] = field(default_factory=list)
    corrections: list[Remark] = field(default_factory=list)
    flags: list[Remark] = field(default_factory=list)

    @property
    def lacks(self) -> list[int]:
        """Answered calls without usage, model, provider, response id."""
        return [self.missing.get(what, 0) for what in MISSING]

    @property
    def remarks(self) -> list[Remark]:
        return [*self.unknown, *self.corrections, *self.flags]

    @property
    def needs_a_look(self) -> int:
        """By what libraries are ordered: what is missing, and what nobody explained."""
        return sum(self.lacks) + sum(remark.count for remark in self.unknown)

    @property
    def place(self) -> tuple[int, int, str, str, str]:
        """In the order of libraries."""
        return (-self.needs_a_look, -self.spans, self.name, self.version, self.adapter)


def libraries(cursor: Cursor, tenant_ids: Sequence[int], start: datetime, end: datetime) -> list[Library]:
    """Those that need a look first. Whole UTC days: of each one that the window touches."""
    cursor.execute(
        "SELECT scope_name, scope_version, adapter, what, sum(count)::bigint, "
        "(array_agg(encode(trace_id, 'hex') ORDER BY day DESC))[1], "
        "(array_agg(encode(span_id, 'hex') ORDER BY day DESC))[1] FROM conformance "
        "WHERE tenant_id = ANY(%s) AND day >= %s AND day <= %s "
        "GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1, 2, 3, 4 LIMIT %s",
        [list(tenant_ids), *_days(start, end), MOST_ROWS],
    )
    found: dict[tuple[str, str, int], Library] = {}
    for name, version, adapter, what, count, trace_id, span_id in cursor.fetchall():
        library = found.setdefault((name, version, adapter), Library(name, version, spelled(adapter)))
        _put(library, what, count, trace_id, span_id)
    return sorted(found.values(), key=lambda each: each.place)


def some_libraries(
    cursor: Cursor, tenant_ids: Sequence[int], start: datetime, end: datetime, limit: int, after: str = ""
) -> tuple[list[Library], str]:
    """A page of `libraries`, and the mark to go on from ("" at the end). Raises ValueError on a bad mark."""
    place = _read_mark(after) if after else None
    rest = [each for each in libraries(cursor, tenant_ids, start, end) if place is None or each.place > place]
    return rest[:limit], _mark(rest[limit - 1]) if len(rest) > limit else ""


def _mark(library: Library) -> str:
    return base64.urlsafe_b64encode(json.dumps(library.place).encode()).decode().rstrip("=")


def _read_mark(mark: str) -> tuple[int, int, str, str, str]:
    try:
        place = json.loads(base64.urlsafe_b64decode(mark + "=" * (-len(mark) % 4)))
        needs_a_look, spans, name, version, adapter = place
    except (ValueError, TypeError, RecursionError):
        place = ()
    if [type(part) for part in place] != [int, int, str, str, str]:
        raise ValueError("the cursor is none of ours")
    return needs_a_look, spans, name, version, adapter


def _put(library: Library, what: str, count: int, trace_id: str, span_id: str) -> None:
    if what == SPANS:
        library.spans = count
    elif what == CALLS:
        library.calls = count
    elif what in MISSING:
        library.missing[what] = count
    else:
        kind, _, name = (UNKNOWN, "", OTHERS) if what == OTHERS else what.partition(":")
        of_kind = {UNKNOWN: library.unknown, CORRECTION: library.corrections, FLAG: library.flags}.get(kind)
        if of_kind is not None:
            of_kind.append(Remark(kind, name, count, trace_id, span_id, library))


def _days(start: datetime, end: datetime) -> tuple[date, date]:
    last = end.astimezone(UTC) - timedelta(microseconds=1)
    return start.astimezone(UTC).date(), last.date()
