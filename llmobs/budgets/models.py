"""Money allowed: what a tenant set. What was spent of it is in `budget_spend` and in the ledger."""

from django.core.exceptions import ValidationError
from django.db import models

from llmobs.budgets.definition import COLUMNS
from llmobs.core.money import MOST_NANOUSD
from llmobs.tenants.models import Key, Tenant

DEFAULT_THRESHOLDS = [70, 80, 100]  # percent of the limit


def default_thresholds() -> list[int]:
    return list(DEFAULT_THRESHOLDS)


class Budget(models.Model):
    """USD or tokens per window, for the calls that its scope names."""

    class Window(models.TextChoices):
        HOUR = "hour", "hour"
        DAY = "day", "day"
        WEEK = "week", "week"
        MONTH = "month", "month"
        TOTAL = "total", "total"

    class Action(models.TextChoices):
        BLOCK = "block", "block"
        ALERT = "alert", "alert only"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="budgets")
    name = models.CharField(max_length=100)
    limit_nanousd = models.BigIntegerField(null=True, blank=True)
    limit_tokens = models.BigIntegerField(null=True, blank=True)
    window = models.CharField(max_length=8, choices=Window.choices, default=Window.MONTH)
    scope = models.JSONField(
        default=dict,
        blank=True,
        help_text='{"feature": "chat", "user": "*"}; "*": one budget for each value; {}: the whole tenant',
    )
    action = models.CharField(max_length=12, choices=Action.choices, default=Action.BLOCK)
    thresholds = models.JSONField(default=default_thresholds, blank=True)
    is_active = models.BooleanField(default=True)
    # What is counted (scope, window, unit) changed: earlier sums do not hold, the writer counts anew.
    revision = models.PositiveIntegerField(default=1, editable=False)
    # Set by the writer in the transaction that summed the window so far; gateways hold from then on.
    counted_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("tenant__slug", "name")
        constraints = [
            models.UniqueConstraint(fields=("tenant", "name"), name="budget_name_once_per_tenant"),
            models.CheckConstraint(
                condition=models.Q(limit_nanousd__isnull=False) ^ models.Q(limit_tokens__isnull=False),
                name="budget_in_usd_or_tokens",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tenant.slug}/{self.name}"

    def clean(self) -> None:
        if (self.limit_nanousd is None) == (self.limit_tokens is None):
            raise ValidationError("A budget has a limit in USD or in tokens, one of the two.")
        limit = self.limit_nanousd if self.limit_nanousd is not None else self.limit_tokens
        if limit is None or limit < 0 or limit > MOST_NANOUSD:
            raise ValidationError("A limit is between 0 and 9,000,000 USD (or 9·10¹⁵ tokens).")
        self._clean_scope()
        self._clean_thresholds()

    def _clean_scope(self) -> None:
        if not isinstance(self.scope, dict):
            raise ValidationError({"scope": 'An object, such as {"feature": "chat", "user": "*"}; {}: everything.'})
        for dimension, value in self.scope.items():
            if dimension not in COLUMNS:
                raise ValidationError({"scope": f"{dimension!r} is no dimension; use any of {', '.join(COLUMNS)}"})
            if not isinstance(value, str) or not value:
                raise ValidationError({"scope": f"{dimension}: a value, or * for one budget for each value"})
        key = self.scope.get("key", "*")
        if key != "*" and self.tenant_id and not self._has_key(key):
            raise ValidationError({"scope": f"the tenant has no key named {key!r}"})

    def _has_key(self, name: str) -> bool:
        return Key.objects.filter(tenant_id=self.tenant_id, name=name.removeprefix(f"{self.tenant.slug}/")).exists()

    def _clean_thresholds(self) -> None:
        given = self.thresholds
        if not isinstance(given, list) or not all(type(percent) is int and 1 <= percent <= 1000 for percent in given):
            raise ValidationError({"thresholds": "A list of whole percents from 1 to 1000, such as [70, 80, 100]."})
