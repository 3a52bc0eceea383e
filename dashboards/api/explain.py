"""Explain over REST: what a figure is made of, and the same figure computed anew from its bills."""

from collections.abc import Sequence
from typing import Any

from django.http import Http404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from dashboards.api.asked import Figures, next_page
from dashboards.api.traces import slugs_of, usd
from dashboards.asked import Asker, NotThere, Wrong, figure_asked
from dashboards.explanation import Told, forecast_steps, latency_steps, told
from dashboards.queries.costs import BILL_COLUMNS
from dashboards.queries.explained import ROWS, BillRow, rows
from dashboards.queries.figure import METRICS, Figure
from dashboards.queries.foretold import Foretold
from dashboards.queries.scope import Cursor, Scope
from dashboards.queries.timed import PERCENTILES, Timed
from dashboards.reading import figures
from llmobs.core.money import exact_usd

MOST_PAGE = 500

PARAMETERS = [
    *(
        OpenApiParameter(name, OpenApiTypes.STR)
        for name in (
            "tenant", "from", "to", "last", "service", "environment", "feature", "provider", "model", "key", "user",
            "session", "trace_id", "span_id", "value", "cursor",
        )
    ),
    OpenApiParameter("metric", OpenApiTypes.STR, enum=[*METRICS, *PERCENTILES]),
    OpenApiParameter("none", OpenApiTypes.STR, description="dimensions that calls shall not name, by commas"),
    *(
        OpenApiParameter(f"not_{name}", OpenApiTypes.STR, description=f"a JSON list: any {name} but these")
        for name in BILL_COLUMNS
    ),
    OpenApiParameter("prompt", OpenApiTypes.INT, description="a prompt by its id, with `version`"),
    OpenApiParameter("version", OpenApiTypes.INT),
    OpenApiParameter("forecast", OpenApiTypes.STR, description="`month`; or any word beside `budget`: its forecast"),
    OpenApiParameter("bill", OpenApiTypes.INT, description="a bill by its id"),
    OpenApiParameter("budget", OpenApiTypes.INT, description="a budget by its id, with `value` where it has several"),
    OpenApiParameter("window", OpenApiTypes.DATETIME, description="a time in the budget's window; default: now"),
    OpenApiParameter("since", OpenApiTypes.DATETIME, description="of a budget's running sum: from, with `until`"),
    OpenApiParameter("until", OpenApiTypes.DATETIME),
    OpenApiParameter("whole", OpenApiTypes.BOOL, description="compute anew however many calls it has"),
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


class DayShown(serializers.Serializer):
    """A day of what a forecast was computed from."""

    begin_at = serializers.DateTimeField()
    end_at = serializers.DateTimeField()
    amount = serializers.CharField()


class RangeShown(serializers.Serializer):
    """Of a forecast its 80 % range; of a percentile the bucket that it lies in."""

    low = serializers.CharField()
    high = serializers.CharField()


class TimedShown(serializers.Serializer):
    """One of the slowest calls."""

    trace_id = serializers.CharField()
    span_id = serializers.CharField()
    begin_at = serializers.DateTimeField()
    provider = serializers.CharField()
    model = serializers.CharField()
    status = serializers.CharField()
    ms = serializers.CharField()


class ExplainedShown(serializers.Serializer):
    """A figure as it is shown, as billed and as computed anew, in its unit.

    A forecast is computed anew from its steps, a percentile from the durations of all its calls: `billed` is null.
    """

    figure = serializers.CharField()
    unit = serializers.ChoiceField(choices=["usd", "tokens", "ms"])
    shown = serializers.CharField(allow_null=True)
    billed = serializers.CharField(allow_null=True)
    recomputed = serializers.CharField(allow_null=True)
    difference = serializers.CharField(allow_null=True)
    is_equal = serializers.BooleanField()
    requests = serializers.IntegerField()
    unpriced_requests = serializers.IntegerField()
    formula = serializers.ListField(child=serializers.CharField())
    versions = VersionShown(many=True)
    sources = SourceShown(many=True)
    corrections = CorrectionShown(many=True)
    range = RangeShown(allow_null=True)
    computed_from = DayShown(many=True)
    slowest = TimedShown(many=True)
    results = BillShown(many=True)
    next = serializers.CharField(allow_null=True)


class Explain(Figures):
    """A figure: of a window with filters, a trace, a span, a bill, a budget's window, a percentile or a forecast.

    It is computed anew from the bills' tokens and the rates kept for their price versions; `difference` is what the
    figure shown has more than that.
    """

    @extend_schema(parameters=PARAMETERS, responses=ExplainedShown)
    def get(self, request: Request) -> Response:
        limit = self.number("limit", ROWS, MOST_PAGE) or ROWS
        with figures(self.request) as cursor:
            asked, scope = self._asked(cursor)
            if isinstance(asked, Timed):
                return Response({**NOTHING, **timed_json(asked)})
            if isinstance(asked, Foretold):
                return Response({**NOTHING, **foretold_json(asked)})
            found = told(cursor, asked, bool(request.query_params.get("whole")))
            try:
                bills, mark = rows(cursor, asked.which, request.query_params.get("cursor", ""), limit)
            except ValueError:
                raise ValidationError({"cursor": "The cursor is none of ours."}) from None
        more = {"results": _bills(bills), "next": next_page(request, scope.window, mark)}
        return Response({**NOTHING, **explained_json(found), **more})

    def _asked(self, cursor: Cursor) -> tuple[Figure | Timed | Foretold, Scope]:
        scope = self.scope()
        try:
            asker = Asker(cursor, scope, timezone.now(), scope.window.zone)
            return figure_asked(asker, self.request.query_params), scope
        except NotThere as error:
            raise Http404(str(error)) from None
        except Wrong as error:
            raise ValidationError({error.name: str(error)}) from None


NOTHING: dict[str, Any] = {
    "billed": None, "requests": 0, "unpriced_requests": 0, "versions": [], "sources": [], "corrections": [],
    "range": None, "computed_from": [], "slowest": [], "results": [], "next": None,
}  # fmt: skip


def foretold_json(found: Foretold) -> dict[str, Any]:
    """A forecast with its steps."""

    def amount(value: int | None) -> str | None:
        return None if value is None else exact_usd(value) if found.unit == "usd" else str(value)

    known = found.forecast
    return {
        "figure": found.words,
        "unit": found.unit,
        "shown": amount(found.shown),
        "recomputed": amount(found.recomputed),
        "difference": None if known is None else amount(known.amount - (found.recomputed or 0)),
        "is_equal": found.shown == found.recomputed,
        "formula": forecast_steps(found),
        "range": None if known is None else {"low": amount(known.low), "high": amount(known.high)},
        "computed_from": [
            {"begin_at": start, "end_at": end, "amount": amount(spent)} for start, end, spent in found.days
        ],
    }


def timed_json(found: Timed) -> dict[str, Any]:
    """A percentile, out of the sketch and exactly."""
    within = found.bucket_ms
    return {
        "figure": found.words,
        "unit": "ms",
        "shown": _ms(found.shown_ms),
        "recomputed": _ms(found.exact_ms),
        "difference": _ms(found.difference_ms),
        "is_equal": found.is_equal,
        "requests": found.calls,
        "formula": latency_steps(found),
        "range": None if within is None else {"low": _ms(within[0]), "high": _ms(within[1])},
        "slowest": [
            {
                **{name: getattr(call, name) for name in ("trace_id", "span_id", "model", "status")},
                "begin_at": call.start,
                "provider": call.provider_name,
                "ms": _ms(call.ns / 1e6),
            }
            for call in found.slowest
        ],
    }


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{value:.6f}".rstrip("0").rstrip(".")


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
