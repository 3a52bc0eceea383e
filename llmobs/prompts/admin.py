"""Prompts in the admin: which version is current, what each says; a new version is written, an old one only read."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Max, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from llmobs.prompts import changes
from llmobs.prompts.content import Content
from llmobs.prompts.models import Experiment, Label, Prompt, PromptVersion
from llmobs.tenants.audited import Audited, OperatedInline, ReadOnly, actor_of
from llmobs.tenants.problem import Conflict


class LabelInline(OperatedInline):
    model = Label
    fields = ("name", "version")


@admin.register(Prompt)
class PromptAdmin(Audited):
    list_display = ("name", "tenant", "current", "latest", "tested", "created_at")
    list_filter = ("tenant",)
    list_select_related = ("tenant",)
    search_fields = ("name", "tenant__slug")
    fields = ("tenant", "name", "current")
    readonly_fields = ("tenant", "name", "current")
    inlines = (LabelInline,)
    actions = ("stop_tests", "roll_back")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Prompt]:
        rows = super().get_queryset(request).annotate(latest_number=Max("versions__number"))
        return rows.prefetch_related("experiments")  # type: ignore[no-any-return]

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False  # with its first version: REST or `apply`

    def view_on_site(self, obj: Prompt) -> str:
        return f"/prompts/?tenant={obj.tenant.slug}"

    @admin.display(description="Latest")
    def latest(self, obj: Prompt) -> int:
        return obj.latest_number  # type: ignore[attr-defined, no-any-return]

    @admin.display(description="Running test")
    def tested(self, obj: Prompt) -> str:
        tests = [test for test in obj.experiments.all() if test.ended_at is None]
        return " or ".join(f"v{number}" for number in tests[0].numbers) if tests else ""

    @admin.action(description="Stop the running test, with its results recorded")
    def stop_tests(self, request: HttpRequest, queryset: QuerySet[Prompt]) -> None:
        for prompt in queryset:
            if changes.running(prompt) is not None:
                changes.stop_test(prompt, actor_of(request), timezone.now())

    @admin.action(description="Roll back to the version that was current before")
    def roll_back(self, request: HttpRequest, queryset: QuerySet[Prompt]) -> None:
        for prompt in queryset:
            try:
                changes.roll_back(prompt, actor_of(request))
            except Conflict as problem:
                self.message_user(request, str(problem.detail), level="error")


class VersionForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = PromptVersion
        fields = ("prompt", "messages", "model", "params", "variables", "note")


@admin.register(PromptVersion)
class PromptVersionAdmin(ReadOnly):
    form = VersionForm
    list_display = ("prompt", "number", "note", "created_by", "created_at")
    list_filter = ("prompt__tenant",)
    list_select_related = ("prompt__tenant",)
    search_fields = ("prompt__name", "note")
    fields = ("prompt", "messages", "model", "params", "variables", "note")
    ordering = ("-pk",)

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return True

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        content = Content(obj.messages, obj.model, obj.params, obj.variables)
        written = changes.add_version(obj.prompt, content, actor_of(request), obj.note)
        obj.pk, obj.number = written.pk, written.number


@admin.register(Experiment)
class ExperimentAdmin(ReadOnly):
    list_display = ("prompt", "control", "control_percentage", "started_at", "ended_at", "winner")
    list_filter = ("prompt__tenant",)
    list_select_related = ("prompt__tenant",)
    fields = ("prompt", "control", "control_percentage", "variants", "started_at", "ended_at", "winner", "results")
    ordering = ("-pk",)
