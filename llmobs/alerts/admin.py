"""Channels, alerts and their deliveries in the admin. A webhook's address is written here and its host alone shown."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextInputWidget

from llmobs.alerts import changing
from llmobs.alerts.addresses import EXAMPLE
from llmobs.alerts.models import Alert, Channel, Delivery
from llmobs.tenants.audited import Audited, ReadOnly, actor_of


class ChannelForm(forms.ModelForm):  # type: ignore[type-arg]
    new_url = forms.CharField(
        label="Address",
        required=False,
        max_length=2000,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text="https://…, mailto:… or a service such as slack://…; empty: as it was",
    )

    class Meta:
        model = Channel
        fields = ("tenant", "name", "is_enabled")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if given := cleaned.get("new_url"):
            self.instance.url = given
        elif not self.instance.url:
            self.add_error("new_url", EXAMPLE)
        return cleaned

    def add_error(self, field: Any, error: Any) -> None:
        """What the model says of `url` belongs to the field that people see."""
        if hasattr(error, "error_dict") and "url" in error.error_dict:
            error.error_dict["new_url"] = error.error_dict.pop("url")
        super().add_error(field, error)


@admin.register(Channel)
class ChannelAdmin(Audited):
    form = ChannelForm
    list_display = ("name", "tenant", "target", "is_enabled")
    list_filter = ("tenant", "is_enabled")
    list_select_related = ("tenant",)
    search_fields = ("name",)
    fields = ("tenant", "name", "target", "new_url", "is_enabled")
    readonly_fields = ("target",)

    @admin.display(description="Goes to")
    def target(self, obj: Channel) -> str:
        return obj.target if obj.url else "–"


@admin.register(Alert)
class AlertAdmin(ReadOnly):
    list_display = ("at", "tenant", "severity", "title", "state")
    list_filter = ("state", "severity", "kind", "tenant")
    list_select_related = ("tenant",)
    actions = ("acknowledge", "resolve")

    @admin.action(description="Acknowledge")
    def acknowledge(self, request: HttpRequest, queryset: QuerySet[Alert]) -> None:
        for alert in queryset:
            changing.acknowledge(alert, actor_of(request))

    @admin.action(description="Resolve")
    def resolve(self, request: HttpRequest, queryset: QuerySet[Alert]) -> None:
        for alert in queryset:
            changing.resolve(alert, actor_of(request))

    def view_on_site(self, obj: Alert) -> str:
        return f"/alerts/?alert={obj.pk}"


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly):
    list_display = ("alert", "channel", "event", "state", "attempts", "next_at", "last_error", "sent_at")
    list_filter = ("state", "event", "channel")
    list_select_related = ("alert", "channel")
    ordering = ("-pk",)
    actions = ("try_again",)

    @admin.action(description="Try again what was given up")
    def try_again(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        for delivery in queryset:
            changing.try_again(delivery, actor_of(request))
