"""Budgets over REST. What was spent of one (`status/`) is answered by `dashboards.api`."""

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from llmobs.budgets.easing import LONGEST_REASON, By, raise_limit, release
from llmobs.budgets.models import Budget
from llmobs.budgets.window import SPELLED
from llmobs.tenants import access
from llmobs.tenants.authentication import caller_of
from llmobs.tenants.resource import Resource, Shown, TenantField, UsdField


class ParentField(serializers.PrimaryKeyRelatedField):
    """A budget by its id, among those that the caller sees."""

    def __init__(self, **options: Any) -> None:
        super().__init__(queryset=Budget.objects.all(), **options)

    def get_queryset(self) -> QuerySet[Budget]:
        return access.seen(Budget.objects.all(), caller_of(self.context["request"]))


class WindowField(serializers.CharField):
    """A window; "rolling_7d" is taken for "7d" too."""

    def to_internal_value(self, data: Any) -> str:
        return str(super().to_internal_value(data)).removeprefix("rolling_")


class BudgetShown(Shown):
    tenant = TenantField()
    window = WindowField(required=False, help_text=SPELLED)
    limit_usd = UsdField(source="limit_nanousd", allow_null=True, required=False)
    parent = ParentField(allow_null=True, required=False, help_text="id of a budget of the same tenant")

    class Meta:
        model = Budget
        fields = (
            "id", "tenant", "name", "limit_usd", "limit_tokens", "window", "scope", "parent", "action", "downgrade_to",
            "static_text", "thresholds", "is_active", "counted_at", "created_at",
        )  # fmt: skip
        read_only_fields = ("counted_at", "created_at")


class Released(serializers.Serializer):
    """`value`: of a budget for each value, the one that is meant; without it all."""

    reason = serializers.CharField(max_length=LONGEST_REASON)
    value = serializers.CharField(required=False, allow_blank=True, allow_null=True, max_length=400)


class Raised(Released):
    """By an amount of USD or tokens, as the budget is, or by percent of its limit; in this window, or lasting."""

    amount_usd = UsdField(required=False)
    amount_tokens = serializers.IntegerField(required=False, min_value=1)
    percent = serializers.IntegerField(required=False, min_value=1)
    lasting = serializers.BooleanField(default=False)

    def by(self, budget: Budget) -> By:
        given = self.validated_data
        name, other = ("amount_usd", "amount_tokens")
        if budget.limit_nanousd is None:
            name, other = other, name
        if other in given:
            raise serializers.ValidationError({other: f"This budget is not in that unit: {name}."})
        return By(given.get(name), given.get("percent"))


class BudgetResource(Resource):
    """USD or tokens per window, for the calls that its scope names."""

    rows = Budget.objects.select_related("tenant")
    serializer_class = BudgetShown

    @extend_schema(request=Raised, responses=BudgetShown)
    @action(detail=True, methods=["post"], url_path="raise", url_name="raise")
    def raised(self, request: Request, pk: str = "") -> Response:
        """Allow more in this window, or lasting; the audit trail keeps who and why."""
        budget, given = self._asked(Raised)
        options = given.validated_data
        by, who, now = given.by(budget), self.caller.actor, timezone.now()
        raise_limit(budget, by, who, options["reason"], now, options.get("value"), options["lasting"])
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=Released, responses=BudgetShown)
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str = "") -> Response:
        """Refuse nothing for this budget until its window ends; the audit trail keeps who and why."""
        budget, given = self._asked(Released)
        options = given.validated_data
        release(budget, self.caller.actor, options["reason"], timezone.now(), options.get("value"))
        return Response(self.get_serializer(budget).data)

    def _asked(self, shape: type[Any]) -> tuple[Budget, Any]:
        budget = self.get_object()
        self.check_change(budget.tenant_id)
        given = shape(data=self.request.data)
        given.is_valid(raise_exception=True)
        return budget, given
