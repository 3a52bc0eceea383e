"""Limits in the admin."""

from django.contrib import admin
from django.http import HttpRequest

from llmobs.limits.models import Limit
from llmobs.tenants.audited import Audited


@admin.register(Limit)
class LimitAdmin(Audited):
    list_display = ("rule", "tenant", "name", "unit", "per", "limit", "is_active")
    list_filter = ("tenant", "unit", "per", "is_active")
    list_select_related = ("tenant",)
    search_fields = ("name", "tenant__slug")
    fields = ("tenant", "name", "unit", "per", "limit", "scope", "is_active")

    def get_readonly_fields(self, request: HttpRequest, obj: Limit | None = None) -> tuple[str, ...]:
        return ("tenant",) if obj else ()
