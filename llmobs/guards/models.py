"""What guards found, as it is shown: the writer puts rows there (`guards.events`), nobody changes them."""

from django.db import models

from llmobs.tenants.models import Tenant


class SecurityEvent(models.Model):
    """A finding in one call. `fingerprint`: HMAC of what was found, under a key of the tenant; the text is not kept."""

    id = models.BigIntegerField(primary_key=True)  # with the tenant
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, db_constraint=False, related_name="security_events")
    at = models.DateTimeField()
    trace_id = models.BinaryField()
    span_id = models.BinaryField()
    kind = models.TextField(help_text="injection, personal_data, secret or too_long")
    place = models.TextField(help_text="input, tool_result or output")
    action = models.TextField(help_text="logged, flagged, masked or blocked")
    name = models.TextField(help_text="of the pattern")
    score_permille = models.PositiveSmallIntegerField()
    count = models.PositiveIntegerField()
    fingerprint = models.TextField()
    feature = models.TextField()
    model = models.TextField()

    class Meta:
        managed = False
        db_table = "security_event"
        ordering = ("-at", "-id")

    def __str__(self) -> str:
        return f"{self.name} in {self.place}, {self.action}"
