"""Accounts at providers in the admin. Their admin key is written here and never shown."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from unfold.widgets import UnfoldAdminPasswordWidget

from llmobs.providers.credentials import ENV, FILE, store_form
from llmobs.reconcile.models import Account, Report
from llmobs.tenants.audited import Audited, ReadOnly


class AccountForm(forms.ModelForm):  # type: ignore[type-arg]
    new_credential = forms.CharField(
        label="Admin key",
        required=False,
        max_length=1000,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}),
        help_text="env:VARIABLE, file:/path, or the key itself, which is sealed. Empty: as it was.",
    )
    forget_credential = forms.BooleanField(required=False, help_text="Reports are given by hand.")

    class Meta:
        model = Account
        fields = ("name", "kind", "providers", "tenant", "base_url", "keys", "aliases", "is_enabled")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if given := cleaned.get("new_credential"):
            self.instance.credential = store_form(given, settings.SECRETS.encryption_keys)
            self.instance.next_fetch_at = None  # at once
        elif cleaned.get("forget_credential"):
            self.instance.credential = ""
        return cleaned


@admin.register(Account)
class AccountAdmin(Audited):
    form = AccountForm
    list_display = ("name", "kind", "tenant", "credential_kind", "fetched_at", "fetch_error", "is_enabled")
    list_filter = ("kind", "is_enabled")
    list_select_related = ("tenant",)
    search_fields = ("name",)
    fields = (
        "name", "kind", "providers", "tenant", "credential_kind", "new_credential", "forget_credential", "base_url",
        "keys", "aliases", "is_enabled",
    )  # fmt: skip
    readonly_fields = ("credential_kind",)

    def view_on_site(self, obj: Account) -> str:
        return "/reconcile/"

    @admin.display(description="Admin key")
    def credential_kind(self, obj: Account) -> str:
        if obj.credential.startswith((ENV, FILE)):
            return obj.credential  # a reference is no secret
        return "sealed" if obj.credential else "none"


@admin.register(Report)
class ReportAdmin(ReadOnly):
    list_display = ("account", "kind", "form", "first_day", "last_day", "row_count", "source", "actor", "fetched_at")
    list_filter = ("account", "kind")
    list_select_related = ("account",)
    exclude = ("raw",)

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).defer("raw")
