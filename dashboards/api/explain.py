"""Explain over REST: what a figure is made of, and the same figure computed anew from its bills."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.http import Http404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from dashboards.api.asked import Figures
from dashboards.api.traces import slugs_of, usd
from dashboards.explanation import Told, told
from dashboards.live import budgets_now
from dashboards.queries import figure
from dashboards.queries.explained import ROWS, BillRow, rows
from dashboards.queries.figure import Figure
from dashboards.queries.scope import Cursor
from dashboards.reading import figures
from llmobs.budgets.models import Budget
from llmobs.tenants import access
from llmobs.tenants.authentication import caller_of

MOST_PAGE = 500
HEX = {"trace_id": re.compile(r"[0-9a-f]{32}"), "span_id": re.compile(r"[0-9a-f]{16}")}

PARAMETERS = [
    *(
        OpenApiParameter(name, OpenApiTypes.STR)
        for name in (
            "tenant", "from", "to", "last", "service", "environment", "feature", "provider", "model", "key", "user",
            "session", "trace_id", "span_id", "value", "cursor",
        )
    ),
    OpenApiParameter("metric", OpenApiTypes.STR, enum=["cost_usd"]),
    OpenApiParameter("bill", OpenApiTypes.INT, description="a bill by its id"),
    OpenApiParameter("budget", OpenApiTypes.INT, description="a budget by its id, with `value` where it has several"),
    OpenApiParameter("window", OpenApiTypes.DATETIME, description="a time in the budget's window; default: now"),
    OpenApiParameter("limit", OpenApiTypes.INT),
]  # fmt: skip


class LineShown(serializers.Serializer):
    """A step of a sum: `tokens` × `usd_per_million`."""

    words = serializers.CharField()
    tokens = serializers.IntegerField()
    usd_per_million = serializers.CharField()
    amount_usd = serializers.CharField(help_text="before the rounding of each call")


class VersionShown(serializers.Serializer):
    """Calls of one price version. An empty version: they have no price."""

    price_version = serializers.CharField()
    provider = serializers.CharField()
    model = serializers.CharField()
    requests = serializers.IntegerField()
    lines = LineShown(many=True)
    billed_usd = serializers.CharField()
    recomputed_usd = serializers.CharField(allow_null=True)


class SourceShown(serializers.Serializer):
    """How the usage of calls is known."""

    kind = serializers.CharField()
    words = serializers.CharField()
    requests = serializers.IntegerField()
    cost_usd = serializers.CharField()


class CorrectionShown(serializers.Serializer):
    """What reversals and adjustments of one reason came to."""

    kind = serializers.CharField()
    reason = serializers.CharField()
    bills = serializers.IntegerField()
    cost_usd = serializers.CharField()


class BillShown(serializers.Serializer):
    """A bill. `trace_id` leads to the call."""

    bill_id = serializers.CharField()
    tenant = serializers.CharField()
    trace_id = serializers.CharField()
    span_id = serializers.CharField()
    begin_at = serializers.DateTimeField()
    kind = serializers.CharField()
    reason = serializers.CharField()
    requests = serializers.IntegerField()
    provider = serializers.CharField()
    model = serializers.CharField()
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cost_usd = serializers.CharField(allow_null=True)
    price_version = serializers.CharField()


class ExplainedShown(serializers.Serializer):
    """A figure as it is shown, as billed and as computed anew. Of a budget in tokens the amounts are tokens."""

    figure = serializers.CharField()
    unit = serializers.ChoiceField(choices=["usd", "tokens"])
    shown = serializers.CharField(allow_null=True)
    billed = serializers.CharField()
    recomputed = serializers.CharField(allow_null=True)
    difference = serializers.CharField(allow_null=True)
    is_equal = serializers.BooleanField()
    requests = serializers.IntegerField()
    unpriced_requests = serializers.IntegerField()
    formula = serializers.ListField(child=serializers.CharField())
    versions = VersionShown(many=True)
    sources = SourceShown(many=True)
    corrections = CorrectionShown(many=True)
    results = BillShown(many=True)
    next = serializers.CharField(allow_null=True)


class Explain(Figures):
    """A figure of money: of a window with filters, a trace, a span, a bill, or a budget's window.

    It is computed anew from the bills' tokens and the rates kept for their price versions; `difference` is what the
    figure shown has more than that.
    """

    @extend_schema(parameters=PARAMETERS, responses=ExplainedShown)
    def get(self, request: Request) -> Response:
        if request.query_params.get("metric", "cost_usd") != "cost_usd":
            raise ValidationError({"metric": "Only cost_usd is explained."})
        limit = self.number("limit", ROWS, MOST_PAGE) or ROWS
        with figures(self.request) as cursor:
            asked = self._figure(cursor)
            found = told(cursor, asked)
            try:
                bills, mark = rows(cursor, asked.which, request.query_params.get("cursor", ""), limit)
            except ValueError:
                raise ValidationError({"cursor": "The cursor is none of ours."}) from None
        return Response({**explained_json(found), "results": _bills(bills), "next": _next(request, mark)})

    def _figure(self, cursor: Cursor) -> Figure:
        given = self.request.query_params
        tenants = access.tenant_ids(caller_of(self.request), given.get("tenant", ""))
        if given.get("budget"):
            return self._budget(cursor)
        if given.get("bill"):
            found = figure.of_bill(cursor, tenants, self._bill_id(given["bill"]))
        elif given.get("trace_id") or given.get("span_id"):
            trace_id, span_id = self._hex("trace_id"), self._hex("span_id") if given.get("span_id") else ""
            one = figure.of_span(cursor, tenants, trace_id, span_id) if span_id else None
            found = one if span_id else figure.of_trace(cursor, tenants, trace_id)
        else:
            try:
                return figure.of_window(cursor, self.scope())
            except ValueError as error:
                raise ValidationError(str(error)) from None
        if found is None:
            raise Http404("There is no such trace, span or bill.")
        return found

    def _budget(self, cursor: Cursor) -> Figure:
        given = self.request.query_params
        budget = access.find(Budget.objects.all(), caller_of(self.request), pk=given["budget"])
        info = budgets_now().get(budget.pk)
        if info is None:
            raise Http404("The budget is not active: nothing is counted in it.")
        try:
            return figure.of_budget(cursor, info, self._moment(given.get("window", "")), given.get("value", ""))
        except ValueError:
            raise ValidationError({"value": "It is no value of this budget."}) from None

    def _moment(self, text: str) -> datetime:
        if not text:
            return timezone.now()
        field = serializers.DateTimeField()
        try:
            return field.to_internal_value(text)  # type: ignore[no-any-return]
        except serializers.ValidationError as error:
            raise ValidationError({"window": error.detail}) from None

    def _bill_id(self, text: str) -> int:
        if not text.isdecimal() or len(text) > 19 or int(text) >= 2**63:
            raise ValidationError({"bill": "A bill's id, as `results` has it."})
        return int(text)

    def _hex(self, name: str) -> str:
        text = str(self.request.query_params.get(name, "")).lower()
        if not HEX[name].fullmatch(text):
            raise ValidationError({name: "Hexadecimal digits, as traces have them."})
        return text


def explained_json(found: Told) -> dict[str, Any]:
    """All but the bills themselves."""
    of = found.explained
    return {
        "figure": found.figure.words,
        "unit": found.figure.unit,
        "shown": found.amount(found.figure.shown),
        "billed": found.amount(found.billed),
        "recomputed": found.amount(found.recomputed),
        "difference": found.amount(found.difference),
        "is_equal": found.is_equal,
        "requests": of.calls,
        "unpriced_requests": of.unpriced_calls,
        "formula": found.formula,
        "versions": [
            {
                "price_version": part.version,
                "provider": part.price.provider if part.price else "",
                "model": part.price.model if part.price else "",
                "requests": part.calls,
                "lines": [
                    {
                        "words": name.removesuffix("_tokens").replace("_", " "),
                        "tokens": tokens,
                        "usd_per_million": usd(rate),
                        "amount_usd": usd(tokens * rate // 1_000_000),
                    }
                    for name, tokens, rate in part.lines
                ],
                "billed_usd": usd(part.billed_nanousd),
                "recomputed_usd": usd(part.recomputed_nanousd),
            }
            for part in of.parts
        ],
        "sources": [
            {"kind": s.kind, "words": s.words, "requests": s.calls, "cost_usd": usd(s.nanousd)} for s in of.sources
        ],
        "corrections": [
            {"kind": c.kind, "reason": c.reason, "bills": c.bills, "cost_usd": usd(c.nanousd)} for c in of.corrections
        ],
    }


def _bills(found: Sequence[BillRow]) -> list[dict[str, Any]]:
    slugs = slugs_of({row.tenant_id for row in found})
    return [
        {
            **{name: getattr(row, name, None) for name in BillShown().fields},
            "bill_id": str(row.bill_id),
            "tenant": slugs.get(row.tenant_id, ""),
            "provider": row.provider_name,
            "cost_usd": usd(row.cost_nanousd),
        }
        for row in found
    ]


def _next(request: Request, mark: str) -> str | None:
    if not mark:
        return None
    query = request.query_params.copy()
    query["cursor"] = mark
    return str(request.build_absolute_uri(f"{request.path}?{query.urlencode()}"))
