"""Money allowed: what a tenant set. What was spent of it is in `budget_spend` and in the ledger."""

from django.core.exceptions import ValidationError
from django.db import models

from llmobs.budgets.scope import DIMENSIONS, EACH, TENANT
from llmobs.budgets.window import SPELLED, is_window
from llmobs.core.money import MOST_NANOUSD
from llmobs.tenants.models import Key, Tenant

DEFAULT_THRESHOLDS = [70, 80, 100]  # percent of the limit


def default_thresholds() -> list[int]:
    return list(DEFAULT_THRESHOLDS)


class Budget(models.Model):
    """USD or tokens per window, for the calls that its scope names."""

    class Action(models.TextChoices):
        BLOCK = "block", "block"
        DOWNGRADE = "downgrade", "downgrade: a cheaper model"
        CACHE_ONLY = "cache_only", "cache only"
        STATIC = "static", "static text"
        ALERT = "alert", "alert only"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="budgets")
    name = models.CharField(max_length=100)
    limit_nanousd = models.BigIntegerField(null=True, blank=True)
    limit_tokens = models.BigIntegerField(null=True, blank=True)
    window = models.CharField(max_length=8, default="month", help_text=SPELLED)
    parent = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        related_name="children",
        null=True,
        blank=True,
        help_text="counts and holds what this one does, besides what its own scope says",
    )
    scope = models.JSONField(
        default=dict,
        blank=True,
        help_text='{"feature": "chat", "user": "*"}; "*": one budget for each value; {}: the whole tenant',
    )
    action = models.CharField(max_length=12, choices=Action.choices, default=Action.BLOCK)
    downgrade_to = models.CharField(
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="a route or model; empty: the cheapest candidate of the call's own route that fits",
    )
    static_text = models.TextField(
        max_length=10_000,
        blank=True,
        default="",
        db_default="",
        help_text="the answer that is given once nothing is left",
    )
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

    @property
    def limit(self) -> int:
        """In nano-USD or tokens."""
        return self.limit_nanousd if self.limit_nanousd is not None else self.limit_tokens or 0

    def clean(self) -> None:
        if (self.limit_nanousd is None) == (self.limit_tokens is None):
            raise ValidationError("A budget has a limit in USD or in tokens, one of the two.")
        limit = self.limit_nanousd if self.limit_nanousd is not None else self.limit_tokens
        if limit is None or limit < 0 or limit > MOST_NANOUSD:
            raise ValidationError("A limit is between 0 and 9,000,000 USD (or 9·10¹⁵ tokens).")
        if not is_window(self.window):
            raise ValidationError({"window": f"{self.window!r} is none of {SPELLED}."})
        self._clean_scope()
        self._clean_parent()
        self._clean_action()
        self._clean_thresholds()

    def _clean_scope(self) -> None:
        if not isinstance(self.scope, dict):
            raise ValidationError({"scope": 'An object, such as {"feature": "chat", "user": "*"}; {}: everything.'})
        for dimension, value in self.scope.items():
            if dimension not in DIMENSIONS:
                raise ValidationError({"scope": f"{dimension!r} is no dimension; use any of {', '.join(DIMENSIONS)}"})
            if not isinstance(value, str) or not value:
                raise ValidationError({"scope": f"{dimension}: a value, or * for one budget for each value"})
        if self.tenant_id and self.scope.get(TENANT, EACH) not in (EACH, self.tenant.slug):
            raise ValidationError({"scope": f"tenant: a budget is within its own tenant, {self.tenant.slug!r}"})
        key = self.scope.get("key", EACH)
        if key != EACH and self.tenant_id and not self._has_key(key):
            raise ValidationError({"scope": f"the tenant has no key named {key!r}"})

    def _clean_parent(self) -> None:
        above, seen = self.parent, {self.pk} if self.pk else set()
        if above is not None and above.tenant_id != self.tenant_id:
            raise ValidationError({"parent": "A parent is a budget of the same tenant."})
        while above is not None:
            if above.pk in seen:
                raise ValidationError({"parent": f"{above.name!r} is below this budget, or is it: no parent for it."})
            seen.add(above.pk)
            above = above.parent

    def _clean_action(self) -> None:
        if (self.action == self.Action.STATIC) != bool(self.static_text.strip()):
            raise ValidationError({"static_text": "The text is given with the action static, and with no other."})
        if self.downgrade_to and self.action != self.Action.DOWNGRADE:
            raise ValidationError({"downgrade_to": "It says where calls go with the action downgrade alone."})

    def _has_key(self, name: str) -> bool:
        return Key.objects.filter(tenant_id=self.tenant_id, name=name.removeprefix(f"{self.tenant.slug}/")).exists()

    def _clean_thresholds(self) -> None:
        given = self.thresholds
        if not isinstance(given, list) or not all(type(percent) is int and 1 <= percent <= 1000 for percent in given):
            raise ValidationError({"thresholds": "A list of whole percents from 1 to 1000, such as [70, 80, 100]."})


class Raise(models.Model):
    """A budget's limit in some of its windows: more by an amount, or (`amount` empty) released: nothing is refused.

    `value`: of a budget for each value, the one that it is for; empty: all.
    """

    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="raises")
    value = models.CharField(max_length=400, null=True, blank=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    amount = models.BigIntegerField(null=True, blank=True)
    actor = models.CharField(max_length=200)
    reason = models.CharField(max_length=500)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-at",)
        verbose_name = "raised limit"

    def __str__(self) -> str:
        return str(self.budget)

    @property
    def tenant(self) -> Tenant:
        return self.budget.tenant
