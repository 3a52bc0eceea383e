"""Budgets in the admin: limits in USD, and each budget's bar as it stands now."""

from typing import Any

import redis
from django import forms
from django.conf import settings
from django.contrib import admin
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from llmobs.budgets.bar import amount, bar
from llmobs.budgets.definition import TOKENS, USD, Budgets, load
from llmobs.budgets.easing import By, raise_limit, release
from llmobs.budgets.models import Budget
from llmobs.budgets.status import status
from llmobs.core.clock import now_ns
from llmobs.core.money import exact_usd, parse_usd
from llmobs.tenants.audited import Audited, actor_of
from llmobs.tenants.plain_connection import plain_connection

TIMEOUT_SECONDS = 0.5  # a page is not kept waiting for what it can leave out


BY_CLICK = "by a click in the admin"
RAISED_PERCENT = 10


class BudgetForm(forms.ModelForm):  # type: ignore[type-arg]
    limit_usd = forms.DecimalField(
        label="Limit in USD",
        required=False,
        min_value=0,
        max_value=9_000_000,
        decimal_places=9,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="or in tokens, one of the two",
    )

    class Meta:
        model = Budget
        fields = (
            "tenant", "name", "limit_tokens", "window", "scope", "parent", "action", "downgrade_to", "static_text",
            "thresholds", "is_active",
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.limit_nanousd is not None:
            self.fields["limit_usd"].initial = exact_usd(self.instance.limit_nanousd)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        usd = cleaned.get("limit_usd")
        # The form has no such field: it is put on the instance before the model's own checks see it.
        self.instance.limit_nanousd = None if usd is None else parse_usd(usd)
        return cleaned


@admin.register(Budget)
class BudgetAdmin(Audited):
    form = BudgetForm
    list_display = ("name", "tenant", "limit", "window", "action", "consumption", "is_active")
    list_filter = ("tenant", "window", "action", "is_active")
    list_select_related = ("tenant",)
    search_fields = ("name", "tenant__slug")
    list_per_page = 25
    fields = (
        "tenant", "name", "limit_usd", "limit_tokens", "window", "scope", "parent", "action", "downgrade_to",
        "static_text", "thresholds", "is_active",
    )  # fmt: skip

    actions = ("release_now", "raise_now")

    @admin.action(description="Release until the window ends")
    def release_now(self, request: HttpRequest, queryset: QuerySet[Budget]) -> None:
        for budget in queryset:
            release(budget, actor_of(request), BY_CLICK, timezone.now())

    @admin.action(description=f"Raise by {RAISED_PERCENT} %% in this window")
    def raise_now(self, request: HttpRequest, queryset: QuerySet[Budget]) -> None:
        for budget in queryset:
            raise_limit(budget, By(percent=RAISED_PERCENT), actor_of(request), BY_CLICK, timezone.now())

    def get_readonly_fields(self, request: HttpRequest, obj: Budget | None = None) -> tuple[str, ...]:
        return ("tenant",) if obj else ()

    def view_on_site(self, obj: Budget) -> str:
        return f"/budgets/?tenant={obj.tenant.slug}"

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        found = super().get_changelist_instance(request)
        budgets = load(plain_connection())
        with redis.Redis.from_url(
            settings.VALKEY_URL, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, retry=None
        ) as client:
            for budget in found.result_list:
                budget.bar = _bar(budget, budgets, client)
        return found

    @admin.display(description="Limit")
    def limit(self, obj: Budget) -> str:
        if obj.limit_nanousd is None:
            return amount(TOKENS, obj.limit_tokens or 0)
        return amount(USD, obj.limit_nanousd)

    @admin.display(description="Spent, held, left")
    def consumption(self, obj: Budget) -> SafeString | str:
        return getattr(obj, "bar", "–")


def _bar(budget: Budget, budgets: Budgets, client: "redis.Redis") -> SafeString | str:
    info = budgets.get(budget.pk)
    if info is None:
        return "off"
    with connection.cursor() as cursor:
        found = status(cursor, client, info, now_ns())
    shown = bar(info.unit, info.limit, found)
    return shown if info.is_counted else format_html("{} <small>not counted yet</small>", shown)
