"""Providers' bills against ours: `reconcile/` by account and name, `reconcile/differences/` by day, model and class."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from dashboards.api.asked import Figures
from dashboards.queries.reconcile import (
    PART_WORDS,
    AccountRow,
    MonthRow,
    PartRow,
    PartSum,
    accounts,
    month,
    part_sums,
    parts,
)
from dashboards.reading import figures
from llmobs.tenants import access
from llmobs.tenants.authentication import caller_of

MOST_ROWS = 500
MONTH = OpenApiParameter("month", str, description="YYYY-MM, UTC; the current one unless given")
ACCOUNT = OpenApiParameter("account", str, description="one account alone")


class DifferenceShown(serializers.Serializer):
    name = serializers.ChoiceField(choices=list(PART_WORDS))
    amount_usd = serializers.CharField(help_text="theirs − ours; all of a month add up to its difference")
    days = serializers.IntegerField()
    models = serializers.ListField(child=serializers.CharField())
    tokens = serializers.IntegerField()
    calls = serializers.IntegerField()


class MonthShown(serializers.Serializer):
    """Amounts in USD, as decimal strings. `null`: no day could be compared."""

    account = serializers.CharField()
    month = serializers.CharField()
    computed_at = serializers.DateTimeField()
    is_due = serializers.BooleanField(help_text="newer reports are not in it yet")
    compared_days = serializers.IntegerField()
    missing = serializers.DictField(child=serializers.ListField(child=serializers.DateField()))
    calls = serializers.IntegerField()
    theirs_usd = serializers.CharField(allow_null=True)
    ours_usd = serializers.CharField(allow_null=True)
    difference_usd = serializers.CharField(allow_null=True)
    residual_usd = serializers.CharField(allow_null=True)
    differences = DifferenceShown(many=True)


class MonthsShown(serializers.Serializer):
    results = MonthShown(many=True)
    next = serializers.URLField(allow_null=True)


class PartShown(serializers.Serializer):
    """A named part of a cell's difference, with both sides of the cell."""

    id = serializers.IntegerField()
    account = serializers.CharField()
    day = serializers.DateField()
    model = serializers.CharField()
    tier = serializers.CharField()
    token_class = serializers.CharField()
    name = serializers.ChoiceField(choices=list(PART_WORDS))
    amount_usd = serializers.CharField()
    tokens = serializers.IntegerField()
    calls = serializers.IntegerField()
    detail = serializers.DictField()
    their_tokens = serializers.IntegerField(allow_null=True)
    our_tokens = serializers.IntegerField(allow_null=True)
    theirs_usd = serializers.CharField(allow_null=True)
    ours_usd = serializers.CharField(allow_null=True)


class PartsShown(serializers.Serializer):
    results = PartShown(many=True)
    next = serializers.URLField(allow_null=True)


class _Asked(Figures):
    def seen(self) -> Sequence[int] | None:
        """The tenants whose accounts may be seen; None: all."""
        caller, slug = caller_of(self.request), self.request.query_params.get("tenant", "")
        return None if caller.is_operator and not slug else access.tenant_ids(caller, slug)

    def found(self) -> list[tuple[AccountRow, MonthRow]]:
        with figures(self.request) as cursor:
            seen = self.seen()
            rows = month(cursor, seen, self._month())
            every = accounts(cursor, seen)
        name = self.request.query_params.get("account", "")
        if name and name not in [account.name for account in every]:
            raise NotFound(f"There is no account {name[:100]!r}.")
        pairs = [(account, rows[account.id]) for account in every if account.id in rows and name in ("", account.name)]
        return [(account, row) for account, row in pairs if row.computed_at is not None]

    def _month(self) -> date:
        text = self.request.query_params.get("month", "")
        if not text:
            return timezone.now().date().replace(day=1)
        try:
            return date.fromisoformat(f"{text}-01")
        except ValueError:
            raise ValidationError({"month": f"{text[:40]!r} is no month; one is 2026-11"}) from None


class Reconciled(_Asked):
    """What a month's bills came to on both sides, and each difference by its name."""

    @extend_schema(parameters=[MONTH, ACCOUNT], responses=MonthsShown)
    def get(self, request: Request) -> Response:
        with figures(self.request) as cursor:
            shown = [_month_shown(account, row, part_sums(cursor, row.id)) for account, row in self.found()]
        return Response({"results": shown, "next": None})


class Differences(_Asked):
    """The parts of a month, by day, model and class."""

    @extend_schema(
        parameters=[
            MONTH,
            OpenApiParameter("account", str, required=True),
            OpenApiParameter("name", str, enum=list(PART_WORDS)),
            OpenApiParameter("cursor", str),
        ],
        responses=PartsShown,
    )
    def get(self, request: Request) -> Response:
        given = request.query_params
        if not given.get("account"):
            raise ValidationError({"account": "Name the account: ?account=openai."})
        name, cursor_text = given.get("name", ""), given.get("cursor", "0")
        if name and name not in PART_WORDS:
            raise ValidationError({"name": f"One of {', '.join(PART_WORDS)}."})
        if not cursor_text.isdecimal() or len(cursor_text) > 18:
            raise ValidationError({"cursor": "The cursor is none of ours."})
        rows: list[PartRow] = []
        with figures(self.request) as cursor:
            for _, found in self.found():
                rows = parts(cursor, found.id, name, int(cursor_text), MOST_ROWS + 1)
        shown = [_part_shown(given["account"], row) for row in rows[:MOST_ROWS]]
        return Response({"results": shown, "next": self._next(rows)})

    def _next(self, rows: Sequence[PartRow]) -> str | None:
        if len(rows) <= MOST_ROWS:
            return None
        asked = self.request.query_params.copy()
        asked["cursor"] = str(rows[MOST_ROWS - 1].id)
        return str(self.request.build_absolute_uri(f"{self.request.path}?{asked.urlencode()}"))


def _month_shown(account: AccountRow, row: MonthRow, sums: Sequence[PartSum]) -> dict[str, Any]:
    is_known = bool(row.compared_days)
    return {
        "account": account.name,
        "month": f"{row.first_day:%Y-%m}",
        "computed_at": row.computed_at,
        "is_due": row.is_due,
        "compared_days": row.compared_days,
        "missing": row.missing,
        "calls": row.calls,
        "theirs_usd": _usd(row.theirs) if is_known else None,
        "ours_usd": _usd(Decimal(row.ours)) if is_known else None,
        "difference_usd": _usd(row.difference) if is_known else None,
        "residual_usd": _usd(row.residual) if is_known else None,
        "differences": [
            {
                "name": part.name,
                "amount_usd": _usd(part.amount),
                "days": part.days,
                "models": part.models,
                "tokens": part.tokens,
                "calls": part.calls,
            }
            for part in sums
        ],
    }


def _part_shown(account: str, row: PartRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "account": account,
        "day": row.day,
        "model": row.model,
        "tier": row.tier,
        "token_class": row.token_class,
        "name": row.name,
        "amount_usd": _usd(row.amount),
        "tokens": row.tokens,
        "calls": row.calls,
        "detail": row.detail,
        "their_tokens": row.their_tokens,
        "our_tokens": row.our_tokens,
        "theirs_usd": _usd(row.theirs),
        "ours_usd": _usd(row.ours),
    }


def _usd(nanousd: Decimal | None) -> str | None:
    """Every digit that is known."""
    if nanousd is None:
        return None
    text = f"{nanousd.scaleb(-9):f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"
