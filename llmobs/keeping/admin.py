"""Dead letters in the admin: why each could not be written; replay and drop."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL
from django.http import HttpRequest

from llmobs.keeping import letters
from llmobs.keeping.models import DeadLetter
from llmobs.tenants.audited import ReadOnly, actor_of


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
    list_display = ("at", "tenant", "kind", "reason", "size", "owner", "tries", "replayed_at")
    list_filter = (Waiting, "kind", "tenant")
    list_select_related = ("tenant",)
    search_fields = ("reason", "owner")
    fields = (
        "at", "tenant", "kind", "reason", "size", "owner", "position", "tries", "tried_at", "replayed_at",
    )  # fmt: skip
    readonly_fields = ("size",)
    actions = ("replay", "drop")

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        return super().get_queryset(request).annotate(size=RawSQL("length(entry)", ()))  # type: ignore[no-any-return]

    @admin.display(description="Size, bytes", ordering="size")
    def size(self, obj: Any) -> int:
        return int(obj.size)

    @admin.action(description="Replay: write them now, each once")
    def replay(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        done = letters.replay(queryset.filter(replayed_at=None), actor_of(request))
        failed = [each for each in done if each.error]
        self.message_user(
            request,
            f"{len(done) - len(failed)} written, {len(failed)} not: their reason says why.",
            messages.WARNING if failed else messages.SUCCESS,
        )

    @admin.action(description="Drop: they are deleted, what they held is not counted")
    def drop(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        self.message_user(request, f"{letters.drop(queryset, actor_of(request))} dropped.")
