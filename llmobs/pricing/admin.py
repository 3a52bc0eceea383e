"""Prices in the admin: dated, above the bundled book. A price is never edited: calls were priced by it."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from llmobs.pricing.models import Price, PriceSnapshot, TrustedProvider
from llmobs.tenants.audited import Audited, ReadOnly


@admin.register(Price)
class PriceAdmin(Audited):
    list_display = (
        "model", "provider", "tenant", "effective_from", "input_usd_per_mtok", "output_usd_per_mtok",
        "cache_read_usd_per_mtok",
    )  # fmt: skip
    list_filter = ("provider", "tenant")
    list_select_related = ("tenant",)
    search_fields = ("model", "provider")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def view_on_site(self, obj: Price) -> str:
        return "/costs/"


@admin.register(PriceSnapshot)
class PriceSnapshotAdmin(ReadOnly):
    """Taken over by `manage.py prices update` alone, which checks the signature."""

    list_display = ("name", "effective_from", "key_fingerprint", "created_at")
    exclude = ("body", "signature")


@admin.register(TrustedProvider)
class TrustedProviderAdmin(Audited):
    list_display = ("provider", "created_at")
