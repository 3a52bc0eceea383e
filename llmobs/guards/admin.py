"""Security events in the admin, to be read."""

from django.contrib import admin

from llmobs.guards.models import SecurityEvent
from llmobs.tenants.audited import ReadOnly


@admin.register(SecurityEvent)
class SecurityEventAdmin(ReadOnly):
    list_display = ("at", "tenant", "kind", "name", "place", "action", "score_permille", "count", "feature", "trace")
    list_filter = ("kind", "action", "place", "tenant")
    list_select_related = ("tenant",)
    search_fields = ("name", "feature", "fingerprint")
    fields = (
        "at", "tenant", "kind", "name", "place", "action", "score_permille", "count", "fingerprint", "feature", "model",
        "trace",
    )  # fmt: skip
    readonly_fields = ("trace",)

    @admin.display(description="Trace")
    def trace(self, obj: SecurityEvent) -> str:
        return bytes(obj.trace_id).hex()
