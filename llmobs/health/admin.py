"""When providers were not healthy, in the admin: to be read."""

from django.contrib import admin

from llmobs.health.models import ProviderState
from llmobs.tenants.audited import ReadOnly


@admin.register(ProviderState)
class ProviderStateAdmin(ReadOnly):
    list_display = ("provider", "model", "state", "share_percent", "since", "until")
    list_filter = ("state", "provider")
    list_select_related = ("provider",)
    search_fields = ("model",)
