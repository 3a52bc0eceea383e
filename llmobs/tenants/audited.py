"""The admin's ground: operators (`is_staff`) see and change all, and every change leaves its audit entry."""

from typing import Any

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline

from llmobs.tenants import audit


def is_operator(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_staff)


def actor_of(request: HttpRequest) -> str:
    return str(request.user.get_username())


class Operated:
    """Operators need no permissions of their own."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_operator(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_operator(request)

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return is_operator(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_operator(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_operator(request)


class OperatedInline(Operated, TabularInline):  # type: ignore[misc]
    extra = 0


class Audited(Operated, ModelAdmin):  # type: ignore[misc]
    """Objects whose changes are told in the audit trail, in the transaction of the change."""

    list_per_page = 50
    show_full_result_count = False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        audit.save(obj, actor_of(request))

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        audit.delete(obj, actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for obj in queryset:
            audit.delete(obj, actor_of(request))

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        changed = formset.save(commit=False)
        for obj in formset.deleted_objects:
            audit.delete(obj, actor_of(request))
        for obj in changed:
            audit.save(obj, actor_of(request))


class ReadOnly(Audited):
    """What is looked at here and written elsewhere."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
