"""Rate allowed: how much in a while, at once, or in one request. What was taken of it stands in Valkey alone."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from llmobs.limits.units import (
    CONCURRENT,
    DAY,
    DIMENSIONS,
    EACH,
    HOUR,
    INPUT_TOKENS,
    MINUTE,
    MOST,
    OUTPUT_TOKENS,
    PERIODS,
    REQUEST,
    REQUESTS,
    TOKENS,
    period,
)
from llmobs.tenants.models import Key, Tenant


class Limit(models.Model):
    """A rate or quota, for the calls that its scope names; without a tenant, for the whole installation."""

    class Unit(models.TextChoices):
        REQUESTS = REQUESTS, "requests"
        TOKENS = TOKENS, "tokens, input and output"
        CONCURRENT = CONCURRENT, "calls at once"
        INPUT_TOKENS = INPUT_TOKENS, "input tokens of one request"
        OUTPUT_TOKENS = OUTPUT_TOKENS, "output tokens of one request"

    class Per(models.TextChoices):
        MINUTE = MINUTE, "minute"
        HOUR = HOUR, "hour"
        DAY = DAY, "day"
        REQUEST = REQUEST, "request"

    tenant = models.ForeignKey(
        Tenant, on_delete=models.CASCADE, related_name="limits", null=True, blank=True, help_text="empty: all tenants"
    )
    name = models.CharField(max_length=100, blank=True, default="")
    unit = models.CharField(max_length=16, choices=Unit.choices, default=Unit.REQUESTS)
    per = models.CharField(max_length=8, choices=Per.choices, blank=True, default="", help_text="empty: calls at once")
    limit = models.BigIntegerField()
    scope = models.JSONField(
        default=dict,
        blank=True,
        help_text='{"feature": "chat", "user": "*"}; "*": one limit for each value; {}: the whole tenant',
    )
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("tenant__slug", "unit", "per", "pk")
        constraints = [
            models.UniqueConstraint(
                fields=("tenant", "unit", "per", "scope"), name="one_limit_of_a_kind", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        whose = self.tenant.slug if self.tenant else "all tenants"
        return f"{whose}/{self.name or self.rule}"

    @property
    def rule(self) -> str:
        """What it says, in words."""
        per = f" per {self.per}" if self.per else ""
        each = "".join(f", {name} {value}" for name, value in sorted(self.scope.items()))
        return f"{self.limit} {self.unit}{per}{each}"

    def clean(self) -> None:
        self.per = period(self.unit, self.per)
        periods = PERIODS.get(self.unit, ())
        if self.per not in periods:
            raise ValidationError({"per": f"{self.unit} are counted per {', '.join(periods[:-1])} or {periods[-1]}"})
        limit: int | None = self.limit  # empty in a form: that is told at the field
        if limit is not None and not 0 <= limit <= MOST:
            raise ValidationError({"limit": f"A limit is between 0 and {MOST:,}."})
        self._clean_scope()

    def _clean_scope(self) -> None:
        if not isinstance(self.scope, dict):
            raise ValidationError({"scope": 'An object, such as {"feature": "chat", "user": "*"}; {}: everything.'})
        for dimension, value in self.scope.items():
            _check(dimension, value, is_global=self.tenant is None)
        self._check_named("key", self.scope.get("key", EACH))
        self._check_named("tenant", self.scope.get("tenant", EACH))

    def _check_named(self, dimension: str, name: str) -> None:
        """Raises ValidationError where the scope names what is not there."""
        if name == EACH or (_key(self.tenant, name) if dimension == "key" else _tenants(name)).exists():
            return
        raise ValidationError({"scope": f"there is no {dimension} named {name!r}"})


def _check(dimension: str, value: Any, is_global: bool) -> None:
    if dimension not in DIMENSIONS or (dimension == "tenant" and not is_global):
        usable = DIMENSIONS if is_global else DIMENSIONS[1:]
        raise ValidationError({"scope": f"{dimension!r} is no dimension; use any of {', '.join(usable)}"})
    if not isinstance(value, str) or not value:
        raise ValidationError({"scope": f"{dimension}: a value, or * for one limit for each value"})


def _key(tenant: Tenant | None, name: str) -> "models.QuerySet[Key]":
    """A key by its name; where no tenant is given, or another's is meant, by `slug/name`."""
    if tenant is not None:
        return Key.objects.filter(tenant=tenant, name=name.removeprefix(f"{tenant.slug}/"))
    slug, _, own = name.partition("/")
    return Key.objects.filter(tenant__slug=slug, name=own)


def _tenants(slug: str) -> "models.QuerySet[Tenant]":
    return Tenant.objects.filter(slug=slug)
