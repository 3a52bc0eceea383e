"""Sessions that the brake noted, slowed or paused: the writer puts rows there (`brake.events`), people release them."""

from django.db import models
from django.utils import timezone

from llmobs.tenants.models import Tenant


class BrakedSession(models.Model):
    """An episode of one session. `mark`: by which gateways know the session."""

    class State(models.TextChoices):
        NOTED = "noted", "noted: nothing was stopped"
        SLOWED = "slowed", "slowed: its calls wait"
        PAUSED = "paused", "paused: its calls are refused"
        RELEASED = "released", "released by a person"

    id = models.CharField(max_length=16, primary_key=True)  # of the span of the call with which it began
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, db_constraint=False, related_name="braked_sessions")
    mark = models.CharField(max_length=32)
    kind = models.CharField(max_length=8, help_text="session, user or key")
    key_id = models.BigIntegerField()
    user_id = models.TextField(blank=True)
    session_id = models.TextField(blank=True)
    feature = models.TextField(blank=True)
    model = models.TextField(blank=True)
    trace_id = models.CharField(max_length=32, blank=True)
    state = models.CharField(max_length=8, choices=State.choices)
    begun_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    until = models.DateTimeField(null=True, blank=True, help_text="when a pause ends by itself")
    told = models.TextField(blank=True, help_text="the evidence in words")
    evidence = models.JSONField(default=dict, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=200, blank=True, default="")
    alerted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "braked_session"
        ordering = ("-changed_at", "-id")
        indexes = [
            models.Index(fields=("tenant", "-changed_at"), name="braked_session_by_change"),
            models.Index(fields=("tenant", "mark"), name="braked_session_by_mark"),
            models.Index(fields=("changed_at",), name="braked_session_untold", condition=models.Q(alerted_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.whom} {self.state}"

    @property
    def whom(self) -> str:
        """Whom it is of, in words."""
        if self.kind == "session":
            return f"session {self.session_id}"
        return f"conversation of user {self.user_id}" if self.kind == "user" else "conversation of a key"

    @property
    def is_paused(self) -> bool:
        """Its calls are refused now."""
        return self.state == self.State.PAUSED and self.until is not None and self.until > timezone.now()
