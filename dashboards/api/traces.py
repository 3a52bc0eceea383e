"""Traces over REST: a list with filters, one whole trace with its costs rolled up, and native spans in."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from dashboards.api.asked import Figures, next_page
from dashboards.queries import trace as one
from dashboards.queries.contents import Content, contents_of
from dashboards.queries.scope import Cursor
from dashboards.queries.trace import SpanRow
from dashboards.queries.traces import SORTS, TraceRow, traces
from dashboards.reading import figures
from llmobs.core.money import exact_usd
from llmobs.ingest.api import MOST_ERRORS, take_spans
from llmobs.ingest.otlp.adapters import spelled
from llmobs.tenants import access
from llmobs.tenants.authentication import caller_of
from llmobs.tenants.models import Tenant

PAGE, MOST_PAGE = 50, 500
NS_PER_MS = 1_000_000

PARAMETERS = [
    *(
        OpenApiParameter(name, OpenApiTypes.STR)
        for name in (
            "tenant", "from", "to", "last", "feature", "model", "user", "session", "environment", "service", "provider",
            "key", "status", "min_cost_usd", "q", "cursor",
        )
    ),
    OpenApiParameter("min_duration_ms", OpenApiTypes.INT),
    OpenApiParameter("sort", OpenApiTypes.STR, enum=sorted(SORTS)),
    OpenApiParameter("limit", OpenApiTypes.INT),
]  # fmt: skip


class TraceShown(serializers.Serializer):
    """A trace with its totals. `null`: unknown."""

    trace_id = serializers.CharField()
    tenant = serializers.CharField()
    name = serializers.CharField()
    start = serializers.DateTimeField()
    duration_ms = serializers.FloatField()
    status = serializers.CharField()
    cost_usd = serializers.CharField(allow_null=True)
    is_estimated = serializers.BooleanField()
    unpriced_requests = serializers.IntegerField()
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    models = serializers.ListField(child=serializers.CharField())
    span_count = serializers.IntegerField()
    call_count = serializers.IntegerField()
    error_count = serializers.IntegerField()
    feature = serializers.CharField(allow_null=True)
    environment = serializers.CharField(allow_null=True)
    user_id = serializers.CharField(allow_null=True)
    session_id = serializers.CharField(allow_null=True)


class TracePageShown(serializers.Serializer):
    results = TraceShown(many=True)
    next = serializers.URLField(allow_null=True)


class SpanShown(serializers.Serializer):
    """A span. `billed`: it bears the bill of its call; `subtree_cost_usd`: its cost with that of all below it."""

    span_id = serializers.CharField()
    parent_span_id = serializers.CharField(allow_null=True)
    name = serializers.CharField()
    operation_name = serializers.CharField(allow_null=True)
    provider_name = serializers.CharField(allow_null=True)
    request_model = serializers.CharField(allow_null=True)
    response_model = serializers.CharField(allow_null=True)
    response_id = serializers.CharField(allow_null=True)
    input_tokens = serializers.IntegerField(allow_null=True)
    output_tokens = serializers.IntegerField(allow_null=True)
    cache_read_input_tokens = serializers.IntegerField(allow_null=True)
    cache_creation_input_tokens = serializers.IntegerField(allow_null=True)
    reasoning_output_tokens = serializers.IntegerField(allow_null=True)
    cost_usd = serializers.CharField(allow_null=True)
    subtree_cost_usd = serializers.CharField(allow_null=True)
    billed = serializers.BooleanField()
    is_estimated = serializers.BooleanField()
    start = serializers.DateTimeField()
    duration_ms = serializers.FloatField()
    ttft_ms = serializers.FloatField(allow_null=True)
    status = serializers.CharField()
    error_type = serializers.CharField(allow_null=True)
    status_message = serializers.CharField(allow_null=True)
    service = serializers.CharField(allow_null=True)
    environment = serializers.CharField(allow_null=True)
    feature = serializers.CharField(allow_null=True)
    user_id = serializers.CharField(allow_null=True)
    session_id = serializers.CharField(allow_null=True)
    adapter = serializers.CharField(allow_null=True, help_text="what read a reported span, with its version")
    attributes = serializers.JSONField()
    input = serializers.JSONField(allow_null=True)
    output = serializers.JSONField(allow_null=True)


class WholeTraceShown(TraceShown):
    spans = SpanShown(many=True)
    spans_left_out = serializers.IntegerField()


class RejectedShown(serializers.Serializer):
    position = serializers.IntegerField()
    message = serializers.CharField()


class TakenShown(serializers.Serializer):
    accepted_spans = serializers.IntegerField()
    rejected = RejectedShown(many=True)


class TraceList(Figures):
    """Traces of the window (the last 30 days unless asked), newest first; and the door for native spans."""

    @extend_schema(operation_id="v1_traces_list", parameters=PARAMETERS, responses=TracePageShown)
    def get(self, request: Request) -> Response:
        scope = self.scope()
        sort = request.query_params.get("sort", "start")
        if sort not in SORTS:
            raise ValidationError({"sort": f"One of {', '.join(sorted(SORTS))}."})
        with figures(self.request) as cursor:
            try:
                found = traces(
                    cursor,
                    scope,
                    sort=sort,
                    after=request.query_params.get("cursor") or None,
                    limit=max(self.number("limit", PAGE, MOST_PAGE) or PAGE, 1),
                    min_cost_nanousd=self.usd("min_cost_usd"),
                    min_duration_ms=self.number("min_duration_ms", most=10**12),
                )
            except ValueError as error:
                raise ValidationError({"cursor": str(error)}) from None
        slugs = slugs_of({row.tenant_id for row in found.rows})
        results = [trace_json(row, slugs) for row in found.rows]
        return Response({"results": results, "next": next_page(request, scope.window, found.older)})

    @extend_schema(
        request=OpenApiTypes.OBJECT,
        responses={202: TakenShown},
        description='`{"spans": [...]}`, each with the fields that a whole trace shows. Idempotent by '
        "span id. A wrong span is named in `rejected` and left out. 202: the others are durable, and visible within a "
        "second or two.",
    )
    def post(self, request: Request) -> Response:
        checked = take_spans(request, caller_of(request), request.query_params.get("tenant", ""))
        rejected = [{"position": error.position, "message": error.message} for error in checked.errors[:MOST_ERRORS]]
        return Response({"accepted_spans": checked.accepted_spans, "rejected": rejected}, status=202)


class WholeTrace(Figures):
    """One trace with all its spans, their costs rolled up, and what was kept of their messages."""

    @extend_schema(parameters=[OpenApiParameter("tenant", OpenApiTypes.STR)], responses=WholeTraceShown)
    def get(self, request: Request, trace_id: str) -> Response:
        tenant_ids = access.tenant_ids(caller_of(request), request.query_params.get("tenant", ""))
        with figures(self.request) as cursor:
            row = one.trace(cursor, tenant_ids, trace_id) if _is_trace_id(trace_id) else None
            if row is None:
                raise Http404("There is no such trace.")
            return Response(whole_trace(cursor, row))


def whole_trace(cursor: Cursor, row: TraceRow) -> dict[str, Any]:
    """The trace as JSON, spans by start."""
    spans = one.spans_of(cursor, row)
    contents = contents_of(cursor, row.tenant_id, spans)
    sums = subtree_costs(spans)
    shown = [span_json(span, sums[span.span_id], contents.get(span.span_id)) for span in spans]
    left_out = max(row.span_count - len(spans), 0)
    return {**trace_json(row, slugs_of({row.tenant_id})), "spans": shown, "spans_left_out": left_out}


def subtree_costs(spans: Iterable[SpanRow]) -> dict[str, int | None]:
    """Each span's cost with that of all below it; None where nothing in it has a known cost. Cycles count once."""
    by_id = {span.span_id: span for span in spans}
    sums: dict[str, int | None] = dict.fromkeys(by_id)
    for span in by_id.values():
        if span.cost_nanousd is None:
            continue
        above: set[str] = set()
        at: SpanRow | None = span
        while at is not None and at.span_id not in above:
            above.add(at.span_id)
            sums[at.span_id] = (sums[at.span_id] or 0) + span.cost_nanousd
            at = by_id.get(at.parent_span_id or "")
    return sums


def slugs_of(tenant_ids: Iterable[int]) -> Mapping[int, str]:
    return dict(Tenant.objects.filter(pk__in=list(tenant_ids)).values_list("pk", "slug"))


def trace_json(row: TraceRow, slugs: Mapping[int, str]) -> dict[str, Any]:
    return {
        "trace_id": row.trace_id,
        "tenant": slugs.get(row.tenant_id),
        "name": row.name,
        "start": row.start,
        "duration_ms": row.duration_ns / NS_PER_MS,
        "status": row.status,
        "cost_usd": usd(row.cost_nanousd),
        "is_estimated": row.is_estimated,
        "unpriced_requests": row.unpriced_calls,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "models": list(row.models),
        "span_count": row.span_count,
        "call_count": row.call_count,
        "error_count": row.error_count,
        "feature": row.feature or None,
        "environment": row.environment or None,
        "user_id": row.user_id or None,
        "session_id": row.session_id or None,
    }


TEXTS = (
    "operation_name", "provider_name", "request_model", "response_model", "response_id", "error_type",
    "status_message", "service", "environment", "feature", "user_id", "session_id",
)  # fmt: skip
COUNTS = (
    "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens",
    "reasoning_output_tokens",
)  # fmt: skip


def span_json(span: SpanRow, subtree_nanousd: int | None, content: Content | None) -> dict[str, Any]:
    return {
        "span_id": span.span_id,
        "parent_span_id": span.parent_span_id,
        "name": span.name,
        **{name: getattr(span, name) or None for name in TEXTS},
        **{name: getattr(span, name) for name in COUNTS},
        "cost_usd": usd(span.cost_nanousd),
        "subtree_cost_usd": usd(subtree_nanousd),
        "billed": span.is_counted and span.input_tokens is not None,  # a refused or failed call has no bill
        "is_estimated": span.is_estimated,
        "start": span.start,
        "duration_ms": span.duration_ns / NS_PER_MS,
        "ttft_ms": None if span.ttft_ns is None else span.ttft_ns / NS_PER_MS,
        "status": span.status,
        "adapter": spelled(span.adapter or 0) or None,
        "attributes": span.attributes,
        "input": _messages(content.input if content else None),
        "output": _messages(content.output if content else None),
    }


def usd(nanousd: int | None) -> str | None:
    """Money as an exact decimal string, unknown as null."""
    return None if nanousd is None else exact_usd(nanousd)


def _messages(text: str | None) -> Any:
    """Messages are kept as JSON; a text that is none (a fingerprint, a cut one) stays a text."""
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _is_trace_id(text: str) -> bool:
    return len(text) == 32 and all(digit in "0123456789abcdefABCDEF" for digit in text)
