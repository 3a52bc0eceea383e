"""Providers and routes in the admin. A credential is written here and never shown."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminPasswordWidget

from llmobs.providers.candidates import replace_candidates
from llmobs.providers.credentials import ENV, FILE, store_form
from llmobs.providers.models import Candidate, Provider, Route
from llmobs.tenants.audited import Audited, OperatedInline, actor_of


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]
    new_credential = forms.CharField(
        required=False,
        max_length=1000,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}),
        help_text="env:VARIABLE, file:/path, or the secret itself, which is sealed. Empty: as it was.",
    )
    forget_credential = forms.BooleanField(required=False, help_text="This provider needs none.")

    class Meta:
        model = Provider
        fields = ("name", "dialect", "base_url", "prices_like", "is_enabled")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if given := cleaned.get("new_credential"):
            self.instance.credential = store_form(given, settings.SECRETS.encryption_keys)
        elif cleaned.get("forget_credential"):
            self.instance.credential = ""
        return cleaned


@admin.register(Provider)
class ProviderAdmin(Audited):
    form = ProviderForm
    list_display = ("name", "dialect", "base_url", "credential_kind", "is_enabled")
    list_filter = ("dialect", "is_enabled")
    search_fields = ("name", "base_url")
    fields = (
        "name", "dialect", "base_url", "credential_kind", "new_credential", "forget_credential", "prices_like",
        "is_enabled",
    )  # fmt: skip
    readonly_fields = ("credential_kind",)

    def view_on_site(self, obj: Provider) -> str:
        return "/providers/"

    @admin.display(description="Credential")
    def credential_kind(self, obj: Provider) -> str:
        if obj.credential.startswith((ENV, FILE)):
            return obj.credential  # a reference is no secret
        return "sealed" if obj.credential else "none"


class CandidateForm(forms.ModelForm):  # type: ignore[type-arg]
    """`rank` orders; positions are given anew, so that two can change places."""

    rank = forms.IntegerField(min_value=1, max_value=1000, widget=UnfoldAdminIntegerFieldWidget)

    class Meta:
        model = Candidate
        fields = ("provider", "model")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["rank"].initial = self.instance.position + 1


class CandidateInline(OperatedInline):
    model = Candidate
    form = CandidateForm
    fields = ("rank", "provider", "model")
    min_num = 1


@admin.register(Route)
class RouteAdmin(Audited):
    list_display = ("name", "strategy", "goes_to")
    search_fields = ("name",)
    inlines = (CandidateInline,)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("candidates__provider")

    @admin.display(description="Candidates, first to last")
    def goes_to(self, obj: Route) -> str:
        return " → ".join(str(candidate) for candidate in obj.candidates.all())

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        kept = [each for each in formset.forms if each.cleaned_data and not each.cleaned_data.get("DELETE")]
        ranked = sorted(kept, key=lambda each: each.cleaned_data["rank"])
        wanted = [Candidate(provider=each.instance.provider, model=each.instance.model) for each in ranked]
        replace_candidates(form.instance, wanted, actor_of(request))
        formset.new_objects, formset.changed_objects, formset.deleted_objects = _none(), _none(), _none()


def _none() -> list[Model]:
    """What Django's own log of the formset asks for: the audit trail tells of it instead."""
    return []
