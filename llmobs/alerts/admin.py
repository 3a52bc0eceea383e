"""Channels, alerts and their deliveries in the admin. A webhook's address is written here and its host alone shown."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from llmobs.alerts import changing
from llmobs.alerts.addresses import EXAMPLE
from llmobs.alerts.kinds import DIMENSIONS, RULES
from llmobs.alerts.models import Alert, AlertRule, Channel, Delivery
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
        fields = ("tenant", "name", "kinds", "severities", "tenants", "is_enabled")

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
    list_display = ("name", "tenant", "goes_to", "is_enabled")
    list_filter = ("tenant", "is_enabled")
    list_select_related = ("tenant",)
    search_fields = ("name",)
    fields = ("tenant", "name", "goes_to", "new_url", "kinds", "severities", "tenants", "is_enabled")
    readonly_fields = ("goes_to",)
    actions = ("send_test", "rotate")

    @admin.display(description="Goes to")
    def goes_to(self, obj: Channel) -> str:
        return obj.target or "–"

    def save_model(self, request: HttpRequest, obj: Channel, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change and (secret := obj.open_secret()):
            self.message_user(request, f"The signing secret of {obj}, shown this once: {secret}")

    @admin.action(description="Send a test")
    def send_test(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        for channel in queryset:
            try:
                error = changing.test(channel, actor_of(request))
            except changing.TooManyTests as refused:
                error = str(refused)
            level = messages.ERROR if error else messages.SUCCESS
            self.message_user(request, f"{channel}: {error or 'took the test'}", level)

    @admin.action(description="Rotate the signing secret")
    def rotate(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        for channel in queryset:
            if channel.is_signed:
                secret = changing.rotate(channel, actor_of(request))
                self.message_user(request, f"The new signing secret of {channel}, shown this once: {secret}")


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]
    kind = forms.ChoiceField(
        choices=[(kind.name, f"{kind.name}: {kind.words}") for kind in RULES.values()], widget=UnfoldAdminSelectWidget
    )
    group_by = forms.ChoiceField(
        choices=[("", "nothing"), *((name, name) for name in DIMENSIONS)], required=False,
        widget=UnfoldAdminSelectWidget,
    )  # fmt: skip

    class Meta:
        model = AlertRule
        fields = "__all__"


@admin.register(AlertRule)
class AlertRuleAdmin(Audited):
    form = RuleForm
    list_display = ("name", "tenant", "kind", "threshold", "group_by", "severity", "is_enabled")
    list_filter = ("kind", "severity", "tenant", "is_enabled")
    list_select_related = ("tenant",)
    search_fields = ("name",)
    filter_horizontal = ("channels",)

    def view_on_site(self, obj: AlertRule) -> str:
        return f"/alerts/?kind={obj.kind}"


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
