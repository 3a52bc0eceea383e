"""A re-pricing: which bills, by which price, and what became of it (llmobs/ingest/adjust_run.py)."""

from django.db import models

from llmobs.tenants.models import Tenant


class Repricing(models.Model):
    """Bills begun from `since` to before `until`, computed anew by today's book, with `price` in it where one is given.

    `price` is a price to be set with it: provider, model, effective_from, rates as the REST API spells them.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True, help_text="empty: all tenants")
    providers = models.JSONField(default=list, blank=True)
    model_names = models.JSONField(default=list, blank=True)
    since = models.DateTimeField()
    until = models.DateTimeField()
    price = models.JSONField(null=True, blank=True)
    price_id = models.BigIntegerField(null=True, editable=False)
    note = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=10, default="new", editable=False)
    preview = models.JSONField(null=True, editable=False)
    error = models.CharField(max_length=400, blank=True, editable=False)
    created_by = models.CharField(max_length=200, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    applied_at = models.DateTimeField(null=True, editable=False)
    undone_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "repricing"
        ordering = ("-id",)
        verbose_name = "re-pricing"

    def __str__(self) -> str:
        return f"re-pricing {self.pk}"
