"""Budgets over REST. What was spent of one (`status/`) is answered by `dashboards.api`."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers

from llmobs.budgets.models import Budget
from llmobs.tenants import access
from llmobs.tenants.authentication import caller_of
from llmobs.tenants.resource import Resource, Shown, TenantField, UsdField


class ParentField(serializers.PrimaryKeyRelatedField):  # type: ignore[misc]
    """A budget by its id, among those that the caller sees."""

    def __init__(self, **options: Any) -> None:
        super().__init__(queryset=Budget.objects.all(), **options)

    def get_queryset(self) -> QuerySet[Budget]:
        return access.seen(Budget.objects.all(), caller_of(self.context["request"]))


class BudgetShown(Shown):
    tenant = TenantField()
    limit_usd = UsdField(source="limit_nanousd", allow_null=True, required=False)
    parent = ParentField(allow_null=True, required=False, help_text="id of a budget of the same tenant")

    class Meta:
        model = Budget
        fields = (
            "id", "tenant", "name", "limit_usd", "limit_tokens", "window", "scope", "parent", "action", "downgrade_to",
            "static_text", "thresholds", "is_active", "counted_at", "created_at",
        )  # fmt: skip
        read_only_fields = ("counted_at", "created_at")


class BudgetResource(Resource):
    """USD or tokens per window, for the calls that its scope names."""

    rows = Budget.objects.select_related("tenant")
    serializer_class = BudgetShown
