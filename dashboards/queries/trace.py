"""One trace: its spans, the bills they bear, and its scores."""

# ruff: noqa: S608 - names in the SQL are constants of this package, values are always bound

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import starmap
from typing import Any

import msgspec

from dashboards.queries.scope import Cursor
from dashboards.queries.traces import TraceRow, trace_totals
from llmobs.core.clock import ns_from_utc
from llmobs.core.semconv import SOURCE_GATEWAY
from llmobs.pricing.usage import Usage, stored_usage
from llmobs.spans.details import Place, details_at
from llmobs.spans.shown import TRACE_SHOWN

MOST_FINDINGS = 500
MOST_SPANS = 5_000  # of one trace that are read with all they have
MOST_OUTLINED = 50_000  # of one trace that a page builds its tree of; the page says when there are more


@dataclass(frozen=True)
class SpanRow:
    """One span as shown. `usage` fields None: unknown. Ids are hex."""

    span_id: str
    parent_span_id: str | None
    start: datetime
    duration_ns: int
    name: str
    source: int
    is_call: bool
    is_counted: bool
    is_estimated: bool
    is_stream: bool
    operation_name: str
    status: str
    error_type: str
    status_message: str
    provider_name: str
    request_model: str
    response_model: str
    response_id: str
    finish_reasons: tuple[str, ...]
    input_tokens: int | None
    output_tokens: int | None
    cache_read_input_tokens: int | None
    cache_creation_input_tokens: int | None
    cache_creation_1h_input_tokens: int | None
    reasoning_output_tokens: int | None
    cost_nanousd: int | None
    price_version: str
    stated_cost_nanousd: int | None
    held_nanousd: int
    ttft_ns: int | None
    service: str
    environment: str
    feature: str
    user_id: str
    session_id: str
    key_id: int
    prompt_version: str
    scope_name: str
    adapter: int | None
    preview: str
    block_id: int | None
    block_slot: int | None
    attributes: dict[str, Any]
    detail_id: int | None = None
    detail_slot: int | None = None

    @property
    def model(self) -> str:
        return self.response_model or self.request_model

    @property
    def start_ns(self) -> int:
        return ns_from_utc(self.start)


COLUMNS = tuple(SpanRow.__dataclass_fields__)
# Classes of tokens of a known usage, of which none is stored as null.
CLASSES = (
    "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation_1h_input_tokens",
    "reasoning_output_tokens",
)  # fmt: skip
# A time that comes as text is read by Python, which of a large trace takes longer than all else of its rows. In
# floating point, which PostgreSQL is quicker with, microseconds are off by less than half of one until 2106.
_MICROSECONDS = "(date_part('epoch', start) * 1000000)::bigint"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_READ = {"start": _MICROSECONDS, "cost_nanousd": "shown_nanousd"}
_SELECTED = [_READ.get(name, name) for name in COLUMNS]


class Outlined(msgspec.Struct, gc=False):
    """Of a span what a tree is built of; what its row says besides is read of those that are shown, and blank here.

    A trace has thousands of them: they are made in C, and nothing that is looked through for cycles.
    """

    span_id: str
    parent_span_id: str | None
    start_us: int
    duration_ns: int
    source: int
    is_call: bool
    is_counted: bool
    is_estimated: bool
    status: str
    error_type: str
    response_id: str
    input_tokens: int | None
    output_tokens: int | None
    cost_nanousd: int | None
    block_id: int | None
    block_slot: int | None
    attributes: dict[str, Any]

    @property
    def start(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self.start_us)

    @property
    def start_ns(self) -> int:
        return 1000 * self.start_us

    @property
    def model(self) -> str:
        return ""


_OUTLINE_READ = _READ | {
    "span_id": "encode(span_id, 'hex')",
    "parent_span_id": "encode(parent_span_id, 'hex')",
    "start_us": _MICROSECONDS,
    # They say what a tree must know of the gateway's spans alone: attempts, hits, answers instead.
    "attributes": f"CASE WHEN source = {SOURCE_GATEWAY} THEN attributes END",
}
OUTLINE = [_OUTLINE_READ.get(name, name) for name in Outlined.__struct_fields__]
_NO_ATTRIBUTES: dict[str, Any] = {}
_BLANK: dict[Any, Any] = {str: "", int: 0, bool: False, tuple[str, ...]: ()}
for _name, _field in SpanRow.__dataclass_fields__.items():
    if not hasattr(Outlined, _name):
        setattr(Outlined, _name, _BLANK.get(_field.type))


@dataclass(frozen=True)
class BillRow:
    """What was charged for a span: one for its response, more where it was corrected."""

    bill_id: int
    kind: str
    reason: str
    requests: int
    provider_name: str
    model: str
    uncached_input_tokens: int
    cache_read_input_tokens: int
    cache_write_5m_input_tokens: int
    cache_write_1h_input_tokens: int
    output_tokens: int
    reasoning_output_tokens: int
    cost_nanousd: int | None
    price_version: str
    held_nanousd: int
    budget_ids: tuple[int, ...]
    units: dict[str, int] | None = None
    tier: str = ""

    @property
    def usage(self) -> Usage:
        """In its normal form, as a cost is computed of it."""
        classes = (
            self.uncached_input_tokens,
            self.cache_read_input_tokens,
            self.cache_write_5m_input_tokens,
            self.cache_write_1h_input_tokens,
            self.output_tokens,
            self.reasoning_output_tokens,
        )
        return stored_usage(classes, self.units, self.tier)


BILL_COLUMNS = tuple(BillRow.__dataclass_fields__)
# Bills of before have an array; bills that count towards none have neither.
_BUDGETS = "COALESCE(budget_ids, string_to_array(budgets, ' ')::bigint[], '{}')"
_BILLED = [_BUDGETS if name == "budget_ids" else name for name in BILL_COLUMNS]


@dataclass(frozen=True)
class ScoreRow:
    """A mark that an answer was given."""

    span_id: str | None
    name: str
    value: Decimal | None
    label: str
    comment: str
    source: str
    judge: str
    created_at: datetime


@dataclass(frozen=True)
class FindingRow:
    """What a guard found in a span; the text itself is not kept."""

    span_id: str
    kind: str
    place: str
    action: str
    name: str
    score_permille: int
    count: int


def trace(cursor: Cursor, tenant_ids: tuple[int, ...], trace_id: str) -> TraceRow | None:
    """The trace's totals, or None where none of these tenants has it."""
    cursor.execute(
        "SELECT tenant_id, trace_id, day FROM trace WHERE tenant_id = ANY(%s) AND trace_id = %s ORDER BY day LIMIT 1",
        [list(tenant_ids), bytes.fromhex(trace_id)],
    )
    heads = [(row[0], bytes(row[1]), row[2]) for row in cursor.fetchall()]
    return next(iter(trace_totals(cursor, heads)), None)


def spans_of(cursor: Cursor, found: TraceRow, span_ids: Sequence[str] | None = None) -> list[SpanRow]:
    """Its spans by start, at most MOST_SPANS; these alone, if some are named."""
    some = "" if span_ids is None else "WHERE span_id = ANY(%(span_ids)s) "
    cursor.execute(
        f"SELECT {', '.join(_SELECTED)} FROM {TRACE_SHOWN} span {some}ORDER BY start, span_id LIMIT {MOST_SPANS}",
        _of_trace(found) | {"span_ids": [bytes.fromhex(each) for each in span_ids or ()]},
    )
    return _with_details(cursor, found.tenant_id, [_span(row) for row in cursor.fetchall()])


def outline_of(cursor: Cursor, found: TraceRow) -> Sequence[SpanRow]:
    """The same spans, at most MOST_OUTLINED, as `Outlined` (PAINS 35)."""
    cursor.execute(
        f"SELECT {', '.join(OUTLINE)} FROM {TRACE_SHOWN} span ORDER BY start, span_id LIMIT {MOST_OUTLINED}",
        _of_trace(found),
    )
    spans: list[Any] = list(starmap(Outlined, cursor.fetchall()))
    for span in spans:
        told = span.attributes  # Django's cursor leaves jsonb as text
        span.attributes = msgspec.json.decode(told) if isinstance(told, str) else told or _NO_ATTRIBUTES
    return spans


def bills_of(cursor: Cursor, found: TraceRow, span_ids: Sequence[str]) -> dict[str, list[BillRow]]:
    """The bills of some spans, by span, each one's oldest first."""
    start, end = _bounds(found)
    cursor.execute(
        f"SELECT span_id, {', '.join(_BILLED)} FROM bill WHERE tenant_id = %s AND trace_id = %s AND span_id = ANY(%s) "
        "AND begin_at >= %s AND begin_at <= %s ORDER BY bill_id",
        [found.tenant_id, bytes.fromhex(found.trace_id), [bytes.fromhex(each) for each in span_ids], start, end],
    )
    rows: dict[str, list[BillRow]] = {}
    for span_id, *values in cursor.fetchall():
        row = dict(zip(BILL_COLUMNS, values, strict=True))
        row["budget_ids"] = tuple(row["budget_ids"])
        if isinstance(row["units"], str):  # Django's cursor leaves jsonb as text
            row["units"] = msgspec.json.decode(row["units"])
        rows.setdefault(bytes(span_id).hex(), []).append(BillRow(**row))
    return rows


def scores_of(cursor: Cursor, found: TraceRow) -> list[ScoreRow]:
    """Marks of this trace, oldest first."""
    cursor.execute(
        "SELECT s.span_id, s.name, s.value, s.label, s.comment, s.source, coalesce(j.name, ''), s.created_at "
        "FROM evals_score s LEFT JOIN evals_judge j ON j.id = s.judge_id "
        "WHERE s.tenant_id = %s AND s.trace_id = %s ORDER BY s.created_at LIMIT 100",
        [found.tenant_id, bytes.fromhex(found.trace_id)],
    )
    return [ScoreRow(bytes(row[0]).hex() if row[0] else None, *row[1:]) for row in cursor.fetchall()]


def findings_of(cursor: Cursor, found: TraceRow) -> dict[str, list[FindingRow]]:
    """What guards found in this trace, by span."""
    cursor.execute(
        "SELECT span_id, kind, place, action, name, score_permille, count FROM security_event "
        "WHERE tenant_id = %s AND trace_id = %s ORDER BY at, id LIMIT %s",
        [found.tenant_id, bytes.fromhex(found.trace_id), MOST_FINDINGS],
    )
    rows: dict[str, list[FindingRow]] = {}
    for row in cursor.fetchall():
        finding = FindingRow(bytes(row[0]).hex(), *row[1:])
        rows.setdefault(finding.span_id, []).append(finding)
    return rows


def prompt_id(cursor: Cursor, tenant_id: int, name: str) -> int | None:
    """The prompt of that name; None: it was deleted."""
    cursor.execute("SELECT id FROM prompts_prompt WHERE tenant_id = %s AND name = %s", [tenant_id, name])
    row = cursor.fetchone()
    return row[0] if row else None


def budget_names(cursor: Cursor, tenant_id: int, budget_ids: Sequence[int]) -> list[str]:
    """Names of budgets that a bill counts towards; one that was deleted has none."""
    cursor.execute(
        "SELECT name FROM budgets_budget WHERE tenant_id = %s AND id = ANY(%s) ORDER BY name",
        [tenant_id, list(budget_ids)],
    )
    return [row[0] for row in cursor.fetchall()]


def _of_trace(found: TraceRow) -> dict[str, Any]:
    since, until = _bounds(found)
    trace_id = bytes.fromhex(found.trace_id)
    return {"tenant_id": found.tenant_id, "trace_id": trace_id, "since": since, "until": until}


def _bounds(found: TraceRow) -> tuple[datetime, datetime]:
    # `finish` is kept in whole microseconds: one more on each side loses nothing.
    edge = timedelta(microseconds=1)
    return found.start - edge, found.start + timedelta(microseconds=found.duration_ns // 1000) + edge


def _span(row: Sequence[Any]) -> SpanRow:
    values = dict(zip(COLUMNS, row, strict=True))
    values["start"] = _EPOCH + timedelta(microseconds=values["start"])
    values["span_id"] = bytes(values["span_id"]).hex()
    parent = values["parent_span_id"]
    values["parent_span_id"] = bytes(parent).hex() if parent else None
    values["finish_reasons"] = tuple(values["finish_reasons"] or ())
    if isinstance(values["attributes"], str):  # Django's cursor leaves jsonb as text
        values["attributes"] = msgspec.json.decode(values["attributes"])
    values["attributes"] = values["attributes"] or {}
    values["held_nanousd"] = values["held_nanousd"] or 0
    if values["input_tokens"] is not None:
        values.update({name: values[name] or 0 for name in CLASSES})
    return SpanRow(**values)


def _with_details(cursor: Cursor, tenant_id: int, spans: list[SpanRow]) -> list[SpanRow]:
    """The same, whole: what lies in blocks beside their rows is read too."""
    places = {
        span.span_id: Place(span.detail_id, span.start.astimezone(UTC).date(), span.detail_slot or 0)
        for span in spans
        if span.detail_id is not None
    }
    details = details_at(cursor, tenant_id, places.values())
    return [
        replace(
            span,
            attributes=msgspec.json.decode(detail.attributes),
            scope_name=detail.scope_name,
            finish_reasons=detail.finish_reasons,
            price_version=detail.price_version,
        )
        if (detail := details.get(places[span.span_id]) if span.span_id in places else None) is not None
        else span
        for span in spans
    ]
