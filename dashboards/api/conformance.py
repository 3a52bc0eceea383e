"""`conformance/`: what reported spans lack and what nobody could explain in them, by library, version and adapter."""

from collections.abc import Sequence
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from dashboards.api.asked import Figures, next_page
from dashboards.queries.conformance import Library, Remark, some_libraries
from dashboards.reading import figures
from llmobs.ingest.conformance import MISSING

PAGE, MOST_PAGE = 100, 500


class RemarkShown(serializers.Serializer):
    """An attribute, or a sentence of ours about what was put right or is doubtful; and a span it was counted of."""

    name = serializers.CharField(help_text="`(others)`: what came after the first 2,000 lines of a day")
    words = serializers.CharField(allow_blank=True)
    count = serializers.IntegerField()
    trace_id = serializers.CharField()
    span_id = serializers.CharField()


class MissingShown(serializers.Serializer):
    """Answered calls that do not say it."""

    no_usage = serializers.IntegerField()
    no_model = serializers.IntegerField()
    no_provider = serializers.IntegerField()
    no_response_id = serializers.IntegerField()


class LibraryShown(serializers.Serializer):
    """One version of a library (instrumentation scope), as one version of an adapter read it."""

    library = serializers.CharField(allow_blank=True)
    version = serializers.CharField(allow_blank=True)
    adapter = serializers.CharField(allow_blank=True)
    spans = serializers.IntegerField()
    calls = serializers.IntegerField()
    missing = MissingShown()
    unknown = RemarkShown(many=True, help_text="attributes that nobody has explained")
    corrections = RemarkShown(many=True)
    flags = RemarkShown(many=True)


class LibraryPageShown(serializers.Serializer):
    results = LibraryShown(many=True)
    next = serializers.URLField(allow_null=True)


class Conformance(Figures):
    """Reported spans by library, those that need a look first: the figures of the page Conformance.

    Whole UTC days: each one that the window touches (the last 30 unless asked). What is sent through the gateway is
    not metered. Dimensions other than the tenant do not narrow it.
    """

    @extend_schema(
        parameters=[
            *(OpenApiParameter(name, OpenApiTypes.STR) for name in ("tenant", "from", "to", "last", "cursor")),
            OpenApiParameter("limit", OpenApiTypes.INT),
        ],
        responses=LibraryPageShown,
    )
    def get(self, request: Request) -> Response:
        scope = self.scope()
        limit = max(self.number("limit", PAGE, MOST_PAGE) or PAGE, 1)
        after = request.query_params.get("cursor", "")
        with figures(request) as cursor:
            try:
                found, mark = some_libraries(
                    cursor, scope.tenant_ids, scope.window.start, scope.window.end, limit, after
                )
            except ValueError as error:
                raise ValidationError({"cursor": str(error)}) from None
        return Response({"results": [_library(each) for each in found], "next": next_page(request, scope.window, mark)})


def _library(library: Library) -> dict[str, Any]:
    return {
        "library": library.name,
        "version": library.version,
        "adapter": library.adapter,
        "spans": library.spans,
        "calls": library.calls,
        "missing": {what: library.missing.get(what, 0) for what in MISSING},
        "unknown": _remarks(library.unknown),
        "corrections": _remarks(library.corrections),
        "flags": _remarks(library.flags),
    }


def _remarks(remarks: Sequence[Remark]) -> list[dict[str, Any]]:
    return [
        {
            "name": remark.name,
            "words": remark.words,
            "count": remark.count,
            "trace_id": remark.trace_id,
            "span_id": remark.span_id,
        }
        for remark in remarks
    ]
