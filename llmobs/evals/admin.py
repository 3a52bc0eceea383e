"""Judges in the admin; judgements with the reasons of those that did not run, and scores, to be read."""

from django.contrib import admin

from llmobs.evals.models import Judge, Judgement, Score
from llmobs.tenants.audited import Audited, ReadOnly


@admin.register(Judge)
class JudgeAdmin(Audited):
    list_display = ("name", "tenant", "feature", "model", "sample", "key", "is_enabled")
    list_filter = ("tenant", "is_enabled")
    list_select_related = ("tenant", "key__tenant")
    search_fields = ("name", "tenant__slug", "feature")
    autocomplete_fields = ("key",)

    def view_on_site(self, obj: Judge) -> str:
        return f"/quality/?tenant={obj.tenant.slug}"


@admin.register(Judgement)
class JudgementAdmin(ReadOnly):
    list_display = ("created_at", "judge", "tenant", "trace", "state", "reason", "attempts", "finished_at")
    list_filter = ("state", "judge", "tenant")
    list_select_related = ("judge__tenant", "tenant")
    fields = ("judge", "tenant", "trace", "state", "reason", "attempts", "claimed_at", "finished_at")
    readonly_fields = ("trace",)
    ordering = ("-pk",)

    @admin.display(description="Trace")
    def trace(self, obj: Judgement) -> str:
        return bytes(obj.trace_id).hex()

    def view_on_site(self, obj: Judgement) -> str:
        return f"/traces/{bytes(obj.trace_id).hex()}/"


@admin.register(Score)
class ScoreAdmin(ReadOnly):
    list_display = ("created_at", "tenant", "name", "value", "label", "source", "trace")
    list_filter = ("source", "name", "tenant")
    list_select_related = ("tenant",)
    fields = ("tenant", "trace", "name", "value", "label", "comment", "details", "source", "judge", "created_at")
    readonly_fields = ("trace",)
    ordering = ("-pk",)

    @admin.display(description="Trace")
    def trace(self, obj: Score) -> str:
        return bytes(obj.trace_id).hex()

    def view_on_site(self, obj: Score) -> str:
        return f"/traces/{bytes(obj.trace_id).hex()}/"
