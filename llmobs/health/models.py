"""When a provider's model was not healthy: durable, so that pages and alerts know it with Valkey gone."""

from django.db import models

from llmobs.providers.models import Provider


class ProviderState(models.Model):
    """A stretch of time in one state. `until` empty: still. A model without such a stretch is healthy."""

    class State(models.TextChoices):
        UNHEALTHY = "unhealthy", "unhealthy"
        RECOVERING = "recovering", "recovering"

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="states")
    model = models.CharField(max_length=300)
    state = models.CharField(max_length=10, choices=State.choices)
    share_percent = models.PositiveSmallIntegerField(default=0, help_text="of the calls that may pass")
    since = models.DateTimeField()
    until = models.DateTimeField(null=True, blank=True)
    # Set once somebody was told, or need not be: it is a part of an outage that was told of.
    alerted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "provider_state"
        ordering = ("-since",)
        constraints = [
            models.UniqueConstraint(
                fields=("provider", "model"), condition=models.Q(until=None), name="one_state_at_a_time"
            )
        ]
        indexes = [models.Index(fields=("since",), name="provider_state_since")]

    def __str__(self) -> str:
        return f"{self.provider.name}/{self.model} {self.state}"
