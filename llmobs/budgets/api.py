"""Budgets over REST. What was spent of one (`status/`) is answered by `dashboards.api`."""

from llmobs.budgets.models import Budget
from llmobs.tenants.resource import Resource, Shown, TenantField, UsdField


class BudgetShown(Shown):
    tenant = TenantField()
    limit_usd = UsdField(source="limit_nanousd", allow_null=True, required=False)

    class Meta:
        model = Budget
        fields = (
            "id", "tenant", "name", "limit_usd", "limit_tokens", "window", "scope", "action", "thresholds", "is_active",
            "counted_at", "created_at",
        )  # fmt: skip
        read_only_fields = ("counted_at", "created_at")


class BudgetResource(Resource):
    """USD or tokens per window, for the calls that its scope names."""

    rows = Budget.objects.select_related("tenant")
    serializer_class = BudgetShown
