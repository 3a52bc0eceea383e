"""Prices over REST: `models/` lists what was set above the bundled price book, dated, for all or for one tenant."""

from typing import Any

from django.db.models import Model
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from llmobs.pricing import importing
from llmobs.pricing.models import Price
from llmobs.pricing.sheet import SheetError
from llmobs.tenants.problem import Conflict
from llmobs.tenants.resource import Resource, Shown, TenantField

CSV = "text/csv"


class CsvText(BaseParser):
    """A sheet as it comes, without a form around it."""

    media_type = CSV

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> str:
        try:
            return str(stream.read().decode("utf-8"))
        except UnicodeDecodeError:
            raise ValidationError({"line": "The sheet is not UTF-8."}) from None


class PriceShown(Shown):
    tenant = TenantField(allow_null=True, required=False, help_text="its slug; null: all tenants")

    class Meta:
        model = Price
        fields = (
            "id", "tenant", "provider", "model", "effective_from", "effective_to", "input_usd_per_mtok",
            "output_usd_per_mtok", "cache_read_usd_per_mtok", "cache_write_5m_usd_per_mtok",
            "cache_write_1h_usd_per_mtok", "units", "long_context", "tiers", "max_output_tokens", "created_at",
        )  # fmt: skip
        read_only_fields = ("created_at",)

    def update(self, instance: Model, validated_data: dict[str, Any]) -> Model:
        raise Conflict("A price is never edited: calls were priced by it. Make another with a later effective_from.")


class SheetShown(serializers.Serializer):
    """What an import changes, or changed."""

    is_applied = serializers.BooleanField()
    unchanged = serializers.IntegerField()
    new = PriceShown(many=True)


class PriceResource(Resource):
    """USD per million tokens from a date on."""

    rows = Price.objects.select_related("tenant")
    serializer_class = PriceShown
    is_shared_seen = True

    def tenant_of(self, instance: Price) -> int | None:
        return None  # prices are the operators' to say, a tenant's own too

    def perform_create(self, serializer: Any) -> None:
        self.check_change(None)
        serializer.save()

    @extend_schema(responses={(200, CSV): OpenApiTypes.STR})
    @action(detail=False, url_path="export", pagination_class=None)
    def export(self, request: Request) -> HttpResponse:
        """All prices that the caller sees, as CSV."""
        rows = self.get_queryset().order_by("provider", "model", "effective_from")
        return HttpResponse(
            importing.export(rows),
            content_type=f"{CSV}; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="prices.csv"'},
        )

    @extend_schema(
        request={CSV: OpenApiTypes.STR},
        responses=SheetShown,
        parameters=[OpenApiParameter("apply", bool, description="write it; without it, only say what would change")],
    )
    @action(detail=False, methods=["post"], url_path="import", parser_classes=[CsvText], pagination_class=None)
    def bring_in(self, request: Request) -> Response:
        """Prices out of CSV: what is new is made, all or nothing; nothing is edited."""
        self.check_change(None)
        is_applied = request.query_params.get("apply", "") in ("1", "true")
        try:
            found = importing.bring_in(str(request.data), self.caller.actor, is_applied)
        except SheetError as error:
            wrong = {f"line {each.line} {each.column}".strip(): each.message for each in error.problems}
            raise ValidationError(wrong) from None
        shown = PriceShown(found.new, many=True, context=self.get_serializer_context()).data
        return Response({"is_applied": is_applied, "unchanged": found.unchanged, "new": shown})
