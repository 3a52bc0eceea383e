"""Keeping in the admin: dead letters, why each could not be written, to replay or drop; erasures with their proofs."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL
from django.http import HttpRequest

from llmobs.keeping import erasures, letters
from llmobs.keeping.models import DeadLetter, Erasure
from llmobs.tenants.audited import ReadOnly, actor_of, is_operator


class Waiting(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("waiting", "waiting"), ("replayed", "replayed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
        if self.value() in ("waiting", "replayed"):
            return queryset.filter(replayed_at__isnull=self.value() == "waiting")
        return queryset


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnly):
    list_display = ("at", "tenant", "kind", "reason", "library", "size", "owner", "tries", "asked_at", "replayed_at")
    list_filter = (Waiting, "kind", "tenant")
    list_select_related = ("tenant",)
    search_fields = ("reason", "library", "owner")
    fields = (
        "at", "tenant", "kind", "reason", "library", "size", "owner", "position", "tries", "tried_at",
        "asked_at", "asked_by", "replayed_at",
    )  # fmt: skip
    readonly_fields = ("size",)
    actions = ("replay", "drop")

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        return super().get_queryset(request).annotate(size=RawSQL("length(entry)", ()))  # type: ignore[no-any-return]

    @admin.display(description="Size, bytes", ordering="size")
    def size(self, obj: Any) -> int:
        return int(obj.size)

    @admin.action(description="Replay: a worker writes them, each once")
    def replay(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        asked = letters.ask(queryset, actor_of(request))
        self.message_user(
            request,
            f"{asked} asked for: a worker writes them within a minute. What fails again stays, with its reason.",
            messages.SUCCESS,
        )

    @admin.action(description="Drop: they are deleted, what they held is not counted")
    def drop(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        self.message_user(request, f"{letters.drop(queryset, actor_of(request))} dropped.")


class ErasureForm(forms.ModelForm):  # type: ignore[type-arg]
    user_id = forms.CharField(
        max_length=erasures.MOST_USER_CHARACTERS, label="User", help_text="as spans name the person"
    )

    class Meta:
        model = Erasure
        fields = ("tenant",)


@admin.register(Erasure)
class ErasureAdmin(ReadOnly):
    """Asked for here, carried out by a worker within a minute."""

    form = ErasureForm
    list_display = ("asked_at", "tenant", "asked_by", "finished_at", "error")
    list_filter = ("tenant",)
    list_select_related = ("tenant",)
    fields = (
        "tenant", "asked_by", "asked_at", "finished_at", "error", "found", "fingerprint", "proof", "signature",
    )  # fmt: skip

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return is_operator(request)

    def get_fields(self, request: HttpRequest, obj: Erasure | None = None) -> Any:
        return self.fields if obj else ("tenant", "user_id")

    def get_form(self, request: HttpRequest, obj: Erasure | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            return super().get_form(request, obj, change, **{**kwargs, "form": ErasureForm})
        return super().get_form(request, obj, change, **{**kwargs, "form": forms.ModelForm})

    def save_model(self, request: HttpRequest, obj: Erasure, form: Any, change: bool) -> None:
        asked = erasures.ask(obj.tenant, form.cleaned_data["user_id"], actor_of(request))
        obj.pk = asked.pk
