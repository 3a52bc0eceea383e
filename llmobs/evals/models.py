"""How good: judges, what they were to judge and why it did not run, and scores.

Judgements and scores grow with traffic, so they are ready to be sharded by tenant (docs/hosts.md): ids are made here,
keys hold the tenant, and the database knows no foreign key of theirs.
"""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction

from llmobs.core.ids import new_row_id
from llmobs.tenants.models import Key, Tenant


class Judge(models.Model):
    """A model with a rubric that scores a sample of a tenant's answers."""

    name = models.CharField(max_length=100)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="judges")
    feature = models.CharField(max_length=100, blank=True, default="", help_text="empty: every feature")
    model = models.CharField(max_length=200, help_text="a model or route, asked through our own gateway")
    key = models.ForeignKey(
        Key, on_delete=models.PROTECT, help_text="pays for the judgements; its calls are never judged"
    )
    sample = models.DecimalField(max_digits=6, decimal_places=5, help_text="share of calls, 0 to 1, chosen by trace id")
    criteria = models.JSONField(default=list, help_text='["helpful and actionable", "no invented facts"]')
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("tenant__slug", "name")
        constraints = [models.UniqueConstraint(fields=("tenant", "name"), name="judge_name_once_per_tenant")]

    def __str__(self) -> str:
        return f"{self.tenant.slug}/{self.name}"

    def clean(self) -> None:
        if not 0 <= (self.sample or 0) <= 1:
            raise ValidationError({"sample": "A share of calls from 0 to 1, such as 0.05."})
        criteria = self.criteria
        if not isinstance(criteria, list) or not criteria or not all(isinstance(c, str) and c for c in criteria):
            raise ValidationError({"criteria": 'A list of sentences, such as ["helpful and actionable"].'})
        if self.key_id and self.key.tenant_id is None:
            raise ValidationError({"key": "An operator key cannot pay for calls; name a tenant's key."})

    def delete(self, *args: Any, **options: Any) -> tuple[int, dict[str, int]]:
        """Its judgements go with it, its scores stay; Django's own cascade would not name the tenant."""
        with transaction.atomic():
            Judgement.objects.filter(tenant_id=self.tenant_id, judge_id=self.pk).delete()
            Score.objects.filter(tenant_id=self.tenant_id, judge_id=self.pk).update(judge=None)
            return super().delete(*args, **options)


class Judgement(models.Model):
    """One answer to be judged: the claim that a worker takes, and the reason if it did not run."""

    class State(models.TextChoices):
        PENDING = "pending", "pending"
        RUNNING = "running", "running"
        DONE = "done", "done"
        SKIPPED = "skipped", "skipped"
        FAILED = "failed", "failed"

    id = models.BigIntegerField(primary_key=True, default=new_row_id, editable=False)  # with the tenant
    judge = models.ForeignKey(Judge, on_delete=models.DO_NOTHING, db_constraint=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, db_constraint=False)
    trace_id = models.BinaryField(max_length=16)
    span_id = models.BinaryField(max_length=8)
    start = models.DateTimeField(help_text="of the span, to find its partition")
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)
    reason = models.CharField(max_length=500, blank=True, default="")
    attempts = models.PositiveSmallIntegerField(default=0)
    claimed_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=("tenant", "judge", "trace_id", "span_id"), name="judged_once")]
        indexes = [models.Index(fields=("tenant", "state", "claimed_at"))]


class Score(models.Model):
    """An answer's mark, by a judge, a person or an application."""

    class Source(models.TextChoices):
        JUDGE = "judge", "judge"
        USER = "user", "user"
        API = "api", "api"

    id = models.BigIntegerField(primary_key=True, default=new_row_id, editable=False)  # with the tenant
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, db_constraint=False)
    trace_id = models.BinaryField(max_length=16)
    span_id = models.BinaryField(max_length=8, null=True, blank=True)
    name = models.CharField(max_length=100)
    value = models.DecimalField(max_digits=12, decimal_places=4, null=True, blank=True)
    label = models.CharField(max_length=100, blank=True, default="", help_text="PASS, FAIL, thumb_up …")
    comment = models.TextField(blank=True, default="")
    details = models.JSONField(default=dict, help_text="per criterion: score 1 to 10 and reason")
    source = models.CharField(max_length=8, choices=Source.choices)
    judge = models.ForeignKey(Judge, on_delete=models.DO_NOTHING, db_constraint=False, null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            models.Index(fields=("tenant", "trace_id")),
            models.Index(fields=("tenant", "-created_at")),
        ]
