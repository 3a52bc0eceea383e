"""What keeping shows: dead letters, which the writer puts there (`ingest.dead_letters`)."""

from django.db import models

from llmobs.tenants.models import Tenant


class DeadLetter(models.Model):
    """An entry that could not be written. Its body stays sealed; `reason` names no content."""

    letter_id = models.BigIntegerField(primary_key=True)
    # 0, which is no tenant: an attempt's end without its begin does not say whose it is.
    tenant = models.ForeignKey(Tenant, on_delete=models.DO_NOTHING, null=True, db_constraint=False)
    kind = models.TextField()
    reason = models.TextField()
    owner = models.TextField()
    library = models.TextField(blank=True)
    position = models.BigIntegerField()
    tries = models.PositiveSmallIntegerField()
    at = models.DateTimeField("first seen")
    tried_at = models.DateTimeField(null=True)
    replayed_at = models.DateTimeField(null=True)
    asked_at = models.DateTimeField("replay asked for", null=True)
    asked_by = models.TextField(blank=True)

    class Meta:
        managed = False
        db_table = "dead_letter"
        ordering = ("-at", "letter_id")

    def __str__(self) -> str:
        return f"dead letter {self.letter_id}"


class Erasure(models.Model):
    """A person to be erased, and the proof that they were. `sealed`: who, and by which pseudonym, until it is done."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    sealed = models.TextField(blank=True, editable=False)
    fingerprint = models.CharField(max_length=64, editable=False)
    asked_by = models.CharField(max_length=200, editable=False)
    asked_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, editable=False)
    error = models.CharField(max_length=400, blank=True, editable=False)
    found = models.JSONField(default=dict, editable=False)
    proof = models.JSONField(null=True, editable=False)
    signature = models.CharField(max_length=100, blank=True, editable=False)

    class Meta:
        db_table = "erasure"
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"erasure {self.pk}"
