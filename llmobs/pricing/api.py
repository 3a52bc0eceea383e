"""Prices over REST: `models/` lists what was set above the bundled price book, dated, for all or for one tenant."""

from typing import Any

from django.db.models import Model

from llmobs.pricing.models import Price
from llmobs.tenants.problem import Conflict
from llmobs.tenants.resource import Resource, Shown, TenantField


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
