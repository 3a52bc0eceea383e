"""What is asked: prompts, their unchanging versions, labels, and A/B tests of one version against others."""

import re
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from llmobs.prompts.assignment import WHOLE, share_of
from llmobs.prompts.content import Content, ContentError, checked
from llmobs.prompts.definition import CURRENT, LATEST
from llmobs.tenants.models import Tenant

MOST_EARLIER = 50  # roll-backs in a row


class Prompt(models.Model):
    """A prompt of a tenant. Which version is current changes; what a version says never does."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="prompts")
    name = models.CharField(
        max_length=100,
        validators=[RegexValidator(r"^[A-Za-z][A-Za-z0-9._-]*\Z", "Letters, digits, dots, dashes; a letter first.")],
    )
    current = models.PositiveIntegerField(default=1, help_text="number of the version that calls get")
    # Versions that were current before this one, the latest last: where a roll-back goes.
    earlier = models.JSONField(default=list, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("tenant__slug", "name")
        constraints = [models.UniqueConstraint(fields=("tenant", "name"), name="prompt_name_once_per_tenant")]

    def __str__(self) -> str:
        return f"{self.tenant.slug}/{self.name}"

    def clean(self) -> None:
        if self.pk and not self.versions.filter(number=self.current).exists():
            raise ValidationError({"current": f"{self} has no version {self.current}"})


class OfPrompt(models.Model):
    """What belongs to a prompt, and so to its tenant."""

    prompt: Any
    prompt_id: int

    class Meta:
        abstract = True

    @property
    def tenant(self) -> Tenant:
        return self.prompt.tenant  # type: ignore[no-any-return]

    @property
    def tenant_id(self) -> int:
        return self.prompt.tenant_id  # type: ignore[no-any-return]


class PromptVersion(OfPrompt):
    """What a prompt says. Written once: the database refuses a change (migration 0002)."""

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    messages = models.JSONField(help_text='[{"role": "system", "content": "Answer {{name}} kindly."}]')
    model = models.CharField(max_length=200, blank=True, default="", help_text='for requests whose model is "auto"')
    params = models.JSONField(default=dict, blank=True, help_text="for what a request leaves out: temperature …")
    variables = models.JSONField(default=dict, blank=True, help_text='{"tone": "friendly"}; null: must be given')
    note = models.CharField(max_length=500, blank=True, default="")
    created_by = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("prompt", "number")
        constraints = [models.UniqueConstraint(fields=("prompt", "number"), name="version_number_once")]

    def __str__(self) -> str:
        return f"{self.prompt}@{self.number}"

    @property
    def content(self) -> Content:
        return Content(self.messages, self.model, self.params, self.variables)

    def clean(self) -> None:
        try:
            self.variables = checked(self.content).variables
        except ContentError as error:
            raise ValidationError({error.name: str(error)}) from None


class Label(OfPrompt):
    """A name that points at a version, such as production or staging, and can be moved."""

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="labels")
    name = models.CharField(
        max_length=50,
        validators=[RegexValidator(r"^[A-Za-z][A-Za-z0-9._-]*\Z", "Letters, digits, dots, dashes; a letter first.")],
    )
    version = models.PositiveIntegerField()

    class Meta:
        ordering = ("name",)
        constraints = [models.UniqueConstraint(fields=("prompt", "name"), name="label_once_per_prompt")]

    def __str__(self) -> str:
        return f"{self.prompt}@{self.name}"

    def clean(self) -> None:
        if self.name in (CURRENT, LATEST) or re.fullmatch(r"v[0-9]+", self.name):
            raise ValidationError({"name": f"{self.name!r} has a meaning of its own; use another name"})
        if not self.prompt.versions.filter(number=self.version).exists():
            raise ValidationError({"version": f"{self.prompt} has no version {self.version}"})


class Experiment(OfPrompt):
    """An A/B test: the version that is current against others, each with its share of callers."""

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="experiments")
    control = models.PositiveIntegerField()
    control_percentage = models.DecimalField(
        max_digits=5,
        decimal_places=2,
        default=Decimal(50),
        validators=[MinValueValidator(0), MaxValueValidator(100)],
    )
    variants = models.JSONField(help_text='[{"version": 2, "percentage": "50"}]')
    salt = models.CharField(max_length=32, editable=False)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    results = models.JSONField(null=True, blank=True)
    winner = models.PositiveIntegerField(null=True, blank=True, help_text="the version promoted; none: it was stopped")

    class Meta:
        ordering = ("-started_at",)
        verbose_name = "A/B test"
        constraints = [
            models.UniqueConstraint(
                fields=("prompt",), condition=models.Q(ended_at__isnull=True), name="one_active_test_per_prompt"
            )
        ]

    def __str__(self) -> str:
        return f"{self.prompt}: {' or '.join(map(str, self.numbers))}"

    @property
    def numbers(self) -> list[int]:
        """The versions under test, control first."""
        return [self.control, *(each["version"] for each in self.variants)]

    def clean(self) -> None:
        try:
            shares = [share_of(self.control_percentage), *(share_of(each["percentage"]) for each in self.variants)]
        except ValueError as error:
            raise ValidationError({"variants": str(error)}) from None
        if not self.variants or sum(shares) != WHOLE:
            raise ValidationError({"variants": f"The percentages add up to {sum(shares) / 100:g}, not to 100."})
        if len(set(self.numbers)) != len(self.numbers):
            raise ValidationError({"variants": "Each version stands in a test once; control is one of them."})
        known = set(self.prompt.versions.filter(number__in=self.numbers).values_list("number", flat=True))
        if missing := sorted(set(self.numbers) - known):
            raise ValidationError({"variants": f"{self.prompt} has no version {missing[0]}"})
