"""How a budget stands: `budgets/{id}/status/`, live from the ledger, with a forecast."""

from datetime import datetime
from typing import Any

from django.db import connection
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from dashboards.api.asked import Figures
from dashboards.api.traces import usd
from dashboards.live import budgets_now, ledger_client
from dashboards.queries.budgets import current_window
from dashboards.queries.scope import Cursor
from llmobs.budgets.definition import USD, BudgetInfo
from llmobs.budgets.models import Budget
from llmobs.budgets.outlook import Outlook, budget_forecasts
from llmobs.budgets.status import Standing, Status, status
from llmobs.core.clock import ns_from_utc
from llmobs.tenants import access
from llmobs.tenants.authentication import caller_of

FORETOLD = ("forecast", "forecast_low", "forecast_high", "exhausts_at")


class ValueShown(serializers.Serializer):
    """One value of a budget that has one for each. Amounts in USD (decimal strings) or tokens."""

    value = serializers.CharField()
    spent = serializers.CharField()
    held = serializers.CharField(allow_null=True)
    remaining = serializers.CharField()
    forecast = serializers.CharField(allow_null=True)
    forecast_low = serializers.CharField(allow_null=True)
    forecast_high = serializers.CharField(allow_null=True)
    exhausts_at = serializers.DateTimeField(allow_null=True)


class StatusShown(serializers.Serializer):
    """Amounts in USD (decimal strings) or tokens (numbers). `null`: unknown."""

    unit = serializers.ChoiceField(choices=["usd", "tokens"])
    limit = serializers.CharField()
    spent = serializers.CharField(allow_null=True)
    held = serializers.CharField(allow_null=True, help_text="of the values that are told, where there are many")
    remaining = serializers.CharField(allow_null=True)
    forecast = serializers.CharField(allow_null=True, help_text="expected at the window's end")
    forecast_low = serializers.CharField(allow_null=True, help_text="its 80 % range")
    forecast_high = serializers.CharField(allow_null=True)
    exhausts_at = serializers.DateTimeField(allow_null=True, help_text="when the limit is expected to be passed")
    window_start = serializers.DateTimeField(allow_null=True)
    window_end = serializers.DateTimeField(allow_null=True)
    is_live = serializers.BooleanField()
    is_counted = serializers.BooleanField()
    value_count = serializers.IntegerField(help_text="of all values that spent or hold")
    values = ValueShown(many=True, help_text="the largest spenders first, at most 1,000")


class BudgetStatus(Figures):
    """Limit, spent, held, left and forecast of a budget in its current window."""

    @extend_schema(responses=StatusShown)
    def get(self, request: Request, pk: str) -> Response:
        budget = access.find(Budget.objects.select_related("tenant"), caller_of(request), pk=pk)
        now = timezone.now()
        info = budgets_now().get(budget.pk)
        if info is None:  # switched off: nothing is counted
            return Response(_unknown(budget))
        info = info.at(int(now.timestamp()))
        with connection.cursor() as cursor:
            found = status(cursor, ledger_client(), info, ns_from_utc(now))
            return Response(status_json(cursor, info, found, now))


def status_json(cursor: Cursor, info: BudgetInfo, found: Standing, now: datetime) -> dict[str, Any]:
    start, end = current_window(info, now)
    known = {(info.id, each.applied.value): each.spent for each in found.values}
    outlooks = {each.value: each for each in budget_forecasts(cursor, [info], now, known)}
    return {
        "unit": info.unit,
        "limit": _amount(info, info.limit),
        "spent": _amount(info, found.spent),
        "held": _amount(info, found.held),
        "remaining": None if info.each else _amount(info, found.values[0].remaining),
        **_foretold(info, None if info.each else outlooks.get("")),
        "window_start": start,
        "window_end": end,
        "is_live": found.is_live,
        "is_counted": info.is_counted,
        "value_count": found.value_count if info.each else 0,
        "values": [_value(info, each, outlooks.get(each.applied.value)) for each in found.values] if info.each else [],
    }


def _value(info: BudgetInfo, each: Status, outlook: Outlook | None) -> dict[str, Any]:
    return {
        "value": each.applied.value,
        "spent": _amount(info, each.spent),
        "held": _amount(info, each.held),
        "remaining": _amount(info, each.remaining),
        **_foretold(info, outlook),
    }


def _foretold(info: BudgetInfo, outlook: Outlook | None) -> dict[str, Any]:
    amounts = (None, None, None) if outlook is None else (outlook.amount, outlook.low, outlook.high)
    told = [_amount(info, amount) for amount in amounts]
    return dict(zip(FORETOLD, [*told, outlook.exhausts_at if outlook else None], strict=True))


def _amount(info: BudgetInfo, amount: int | None) -> str | int | None:
    return usd(amount) if info.unit == USD else amount


def _unknown(budget: Budget) -> dict[str, Any]:
    names = ("spent", "held", "remaining", *FORETOLD, "window_start", "window_end")
    is_usd = budget.limit_nanousd is not None
    return {
        "unit": "usd" if is_usd else "tokens",
        "limit": usd(budget.limit_nanousd) if is_usd else budget.limit_tokens,
        **dict.fromkeys(names),
        "is_live": False,
        "is_counted": False,
        "value_count": 0,
        "values": [],
    }
