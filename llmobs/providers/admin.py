"""Providers and routes in the admin. A credential is written here and never shown."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminPasswordWidget, UnfoldAdminTextareaWidget

from llmobs.providers.candidates import replace_candidates
from llmobs.providers.credentials import ENV, FILE, store_form
from llmobs.providers.models import Candidate, Overrun, Provider, Route
from llmobs.tenants.audited import Audited, OperatedInline, actor_of


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]
    new_credential = forms.CharField(
        required=False,
        max_length=1000,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}),
        help_text="env:VARIABLE, file:/path, or the secret itself, which is sealed. Empty: as it was.",
    )
    new_credentials = forms.CharField(
        required=False,
        max_length=20_000,
        widget=UnfoldAdminTextareaWidget(attrs={"autocomplete": "off", "rows": 3}),
        help_text="Several in the place of one: one a line, each with a weight if you like, as in env:KEY_A 2.",
    )
    forget_credential = forms.BooleanField(required=False, help_text="This provider needs none.")

    class Meta:
        model = Provider
        fields = (
            "name", "dialect", "base_url", "auth", "api_version", "paths", "serves", "prices_like", "breaker",
            "retries", "is_local", "connect_seconds", "first_byte_seconds", "whole_seconds", "ca_file", "verify",
            "is_enabled", "default_service_tier",
        )  # fmt: skip

    def clean_new_credentials(self) -> list[dict[str, Any]]:
        return [_credential(line) for line in self.cleaned_data["new_credentials"].splitlines() if line.strip()]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        provider = self.instance
        if several := cleaned.get("new_credentials"):
            provider.credential, provider.credentials = "", several
        elif given := cleaned.get("new_credential"):
            provider.credential, provider.credentials = store_form(given, settings.SECRETS.encryption_keys), []
        elif cleaned.get("forget_credential"):
            provider.credential, provider.credentials = "", []
        return cleaned


def _credential(line: str) -> dict[str, Any]:
    given, _, weight = line.strip().partition(" ")
    if weight.strip() and not weight.strip().isdecimal():
        raise forms.ValidationError("One a line: the credential, and a whole number as its weight if you like.")
    return {"credential": store_form(given, settings.SECRETS.encryption_keys), "weight": int(weight or 1)}


@admin.register(Provider)
class ProviderAdmin(Audited):
    form = ProviderForm
    list_display = ("name", "dialect", "base_url", "credential_kind", "is_local", "is_enabled")
    list_filter = ("dialect", "is_local", "is_enabled")
    search_fields = ("name", "base_url")
    fieldsets = (
        (None, {"fields": ("name", "dialect", "base_url", "prices_like", "default_service_tier", "is_enabled")}),
        (
            "Credential",
            {"fields": ("credential_kind", "new_credential", "new_credentials", "forget_credential", "auth")},
        ),
        ("How it is spoken to", {"fields": ("serves", "paths", "api_version", "is_local", "ca_file", "verify")}),
        ("Patience", {"fields": ("retries", "breaker", "connect_seconds", "first_byte_seconds", "whole_seconds")}),
    )  # fmt: skip
    readonly_fields = ("credential_kind",)

    def view_on_site(self, obj: Provider) -> str:
        return "/providers/"

    @admin.display(description="Credential")
    def credential_kind(self, obj: Provider) -> str:
        if obj.credentials:
            return ", ".join(f"{_kind(each['credential'])} (weight {each['weight']})" for each in obj.credentials)
        return _kind(obj.credential)


def _kind(credential: str) -> str:
    if credential.startswith((ENV, FILE)):
        return credential  # a reference is no secret
    return "sealed" if credential else "none"


@admin.register(Overrun)
class OverrunAdmin(Audited):
    """Gateways write these; who deletes one has later calls held as before."""

    list_display = ("provider", "model", "tier", "held_nanousd", "cost_nanousd", "seen_at")
    list_filter = ("tier",)
    readonly_fields = ("provider", "model", "tier", "held_nanousd", "cost_nanousd", "seen_at")
    fields = readonly_fields

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class CandidateForm(forms.ModelForm):  # type: ignore[type-arg]
    """`rank` orders; positions are given anew, so that two can change places."""

    rank = forms.IntegerField(min_value=1, max_value=1000, widget=UnfoldAdminIntegerFieldWidget)

    class Meta:
        model = Candidate
        fields = ("provider", "model", "weight", "quality", "canary_percent")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["rank"].initial = self.instance.position + 1


class CandidateInline(OperatedInline):
    model = Candidate
    form = CandidateForm
    fields = ("rank", "provider", "model", "weight", "quality", "canary_percent")
    min_num = 1


@admin.register(Route)
class RouteAdmin(Audited):
    list_display = ("name", "strategy", "goes_to")
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "strategy", "tasks", "confidential_only_local")}),
        ("Choice", {"fields": ("quality_floor", "salt", "hedge_after_ms", "cascade_threshold", "cascade_scorer")}),
        ("Answers", {"fields": ("most_output_tokens",)}),
        ("When nobody answers", {"fields": ("last_resort", "static_text")}),
    )
    inlines = (CandidateInline,)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("candidates__provider")

    @admin.display(description="Candidates, first to last")
    def goes_to(self, obj: Route) -> str:
        return " → ".join(str(candidate) for candidate in obj.candidates.all())

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        kept = [each for each in formset.forms if each.cleaned_data and not each.cleaned_data.get("DELETE")]
        ranked = sorted(kept, key=lambda each: each.cleaned_data["rank"])
        wanted = [_without_id(each.instance) for each in ranked]
        replace_candidates(form.instance, wanted, actor_of(request))
        formset.new_objects, formset.changed_objects, formset.deleted_objects = _none(), _none(), _none()


def _without_id(candidate: Candidate) -> Candidate:
    """A new row of the same fields: candidates are replaced, never changed."""
    candidate.pk, candidate._state.adding = None, True
    return candidate


def _none() -> list[Model]:
    """What Django's own log of the formset asks for: the audit trail tells of it instead."""
    return []
