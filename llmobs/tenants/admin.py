"""Tenants, keys, people and the audit trail in the admin."""

import json
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from llmobs.tenants import audit
from llmobs.tenants.audited import Audited, OperatedInline, ReadOnly, actor_of
from llmobs.tenants.history import has_history
from llmobs.tenants.issuing import give_secret, revoke, rotate
from llmobs.tenants.models import AuditEntry, Key, Membership, Tenant, User

admin.site.unregister(Group)  # operators and memberships are all there is


class MembershipOfTenant(OperatedInline):
    model = Membership
    autocomplete_fields = ("user",)


@admin.register(Tenant)
class TenantAdmin(Audited):
    list_display = ("slug", "name", "plan", "content", "time_zone", "is_active", "pages")
    list_filter = ("is_active", "plan", "content")
    search_fields = ("slug", "name")
    prepopulated_fields = {"slug": ("name",)}
    inlines = (MembershipOfTenant,)
    fieldsets = (
        (None, {"fields": ("slug", "name", "plan", "content", "time_zone", "is_active")}),
        (
            "Keeping",
            {
                "fields": (
                    "retention_days", "content_retention_days", "rollup_retention_days", "bill_retention_days",
                    "archive", "raw_body_days",
                )
            },
        ),
        ("Response cache", {"fields": ("cache", "cache_ttl_seconds", "cache_mb")}),
        (
            "Guards",
            {
                "fields": (
                    "injection", "injection_threshold", "sensitive_input", "sensitive_output", "most_input_characters",
                    "confidential_only_local",
                )
            },
        ),
        ("Runaway brake", {"fields": ("brake", "brake_marks")}),
    )  # fmt: skip

    def get_prepopulated_fields(self, request: HttpRequest, obj: Tenant | None = None) -> dict[str, Any]:
        return {} if obj else self.prepopulated_fields

    def get_readonly_fields(self, request: HttpRequest, obj: Tenant | None = None) -> tuple[str, ...]:
        return ("slug",) if obj else ()

    def view_on_site(self, obj: Tenant) -> str:
        return f"/?tenant={obj.slug}"

    @admin.display(description="Pages")
    def pages(self, obj: Tenant) -> SafeString:
        links = (("overview", "/"), ("costs", "/costs/"), ("traces", "/traces/"))
        parts = [format_html('<a href="{}?tenant={}">{}</a>', path, obj.slug, word) for word, path in links]
        return format_html("{} · {} · {}", *parts)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        shown, counts, missing, protected = super().get_deleted_objects(objs, request)
        kept = [f"{obj}: it has spans or bills, which stay. Switch it off instead." for obj in objs if has_history(obj)]
        return shown, counts, missing, [*protected, *kept]


@admin.register(Key)
class KeyAdmin(Audited):
    list_display = ("name", "tenant", "prefix", "feature", "environment", "state", "created_at")
    list_filter = ("tenant", "criticality")
    list_select_related = ("tenant",)
    search_fields = ("name", "tenant__slug", "prefix")
    actions = ("rotate_key", "revoke_keys")
    fields = (
        "tenant", "name", "prefix", "service", "environment", "feature", "allowed_models", "criticality", "cache",
        "unpriced", "unpriced_nanousd", "most_output_tokens", "expires_at", "revoked_at",
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Key | None = None) -> tuple[str, ...]:
        return ("prefix", "revoked_at", "tenant", "name") if obj else ("prefix", "revoked_at")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its spans and bills name it: a key is revoked

    @admin.display(description="State")
    def state(self, obj: Key) -> str:
        if obj.revoked_at is not None:
            return f"revoked {obj.revoked_at:%Y-%m-%d %H:%M} UTC"
        return f"expires {obj.expires_at:%Y-%m-%d %H:%M} UTC" if obj.expires_at else "in use"

    def save_model(self, request: HttpRequest, obj: Key, form: Any, change: bool) -> None:
        if not change:
            obj.shown_once = give_secret(obj)  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: Key, post_url_continue: str | None = None) -> HttpResponse:
        return self._show(request, obj, obj.shown_once)  # type: ignore[attr-defined]

    @admin.action(description="Rotate: a new secret, the old one stops working")
    def rotate_key(self, request: HttpRequest, queryset: QuerySet[Key]) -> HttpResponse | None:
        keys = list(queryset[:2])
        if len(keys) != 1 or keys[0].revoked_at is not None:
            self.message_user(request, "Choose one key that is not revoked.", messages.ERROR)
            return None
        return self._show(request, keys[0], rotate(keys[0], actor_of(request)))

    @admin.action(description="Revoke: calls with them are refused within a second")
    def revoke_keys(self, request: HttpRequest, queryset: QuerySet[Key]) -> None:
        with transaction.atomic():
            for key in queryset:
                revoke(key, actor_of(request))
        self.message_user(request, f"{len(queryset)} revoked.")

    def _show(self, request: HttpRequest, key: Key, secret: str) -> HttpResponse:
        """The secret in this answer alone: in no message, cookie, session or cache."""
        context = {**self.admin_site.each_context(request), "title": f"Key {key}", "key": key, "secret": secret}
        response = TemplateResponse(request, "admin/tenants/key_secret.html", {**context, "opts": self.opts})
        add_never_cache_headers(response)
        return response


@admin.register(AuditEntry)
class AuditAdmin(ReadOnly):
    list_display = ("at", "actor", "action", "kind", "name", "tenant")
    list_filter = ("action", "kind", "tenant")
    list_select_related = ("tenant",)
    search_fields = ("actor", "name")
    fields = ("at", "actor", "action", "kind", "name", "tenant", "changes")
    readonly_fields = ("changes",)

    @admin.display(description="Before → after")
    def changes(self, obj: AuditEntry) -> SafeString:
        lines = [f"{name}: {_text(pair[0])} → {_text(pair[1])}" for name, pair in obj.change.items()]
        return format_html('<pre style="white-space: pre-wrap">{}</pre>', "\n".join(lines))


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


class PersonChangeForm(UserChangeForm):
    class Meta(UserChangeForm.Meta):
        model = User


class PersonCreationForm(UserCreationForm):
    class Meta(UserCreationForm.Meta):
        model = User


class MembershipOfPerson(OperatedInline):
    model = Membership


@admin.register(User)
class PersonAdmin(UserAdmin, Audited):  # type: ignore[type-arg]
    form = PersonChangeForm
    add_form = PersonCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_staff", "is_active", "last_login")
    list_filter = ("is_staff", "is_active")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Who", {"fields": ("first_name", "last_name", "email")}),
        ("May", {"fields": ("is_active", "is_staff"), "description": "Staff are operators: they see every tenant."}),
    )
    filter_horizontal = ()
    inlines = (MembershipOfPerson,)

    def get_inlines(self, request: HttpRequest, obj: User | None = None) -> Any:
        return self.inlines if obj else ()

    def save_related(self, request: HttpRequest, form: ModelForm, formsets: Any, change: bool) -> None:  # type: ignore[type-arg]
        for formset in formsets:
            self.save_formset(request, form, formset, change)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        with transaction.atomic():
            response = super().user_change_password(request, id, form_url)
            if request.method == "POST" and isinstance(response, HttpResponseRedirect):
                person = User.objects.get(pk=id)
                audit.record(actor_of(request), "change", person, {"password": [audit.SET, audit.CHANGED]})
        return response
