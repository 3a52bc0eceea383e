"""Runaways in the admin, to be read; they are released on their page."""

from django.contrib import admin

from llmobs.brake.models import BrakedSession
from llmobs.tenants.audited import ReadOnly


@admin.register(BrakedSession)
class BrakedSessionAdmin(ReadOnly):
    list_display = ("changed_at", "tenant", "whom", "state", "until", "told", "ended_by")
    list_filter = ("state", "kind", "tenant")
    list_select_related = ("tenant",)
    search_fields = ("session_id", "user_id", "feature")
    fields = (
        "begun_at", "changed_at", "tenant", "kind", "session_id", "user_id", "key_id", "feature", "model", "state",
        "until", "told", "evidence", "trace_id", "ended_at", "ended_by",
    )  # fmt: skip
