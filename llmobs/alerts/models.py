"""Who must know: channels, alerts, and each delivery of one to the other."""

from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import models

from llmobs.tenants.models import Tenant


class Channel(models.Model):
    """Where alerts of a tenant go: a webhook (https://…) or an address (mailto:…)."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True, help_text="empty: operators'")
    name = models.CharField(max_length=100)
    url = models.CharField(max_length=500)
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        constraints = [
            models.UniqueConstraint(fields=("tenant", "name"), name="channel_name_once", nulls_distinct=False)
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if not (_is_mail(self.url) or _is_web(self.url)):
            raise ValidationError({"url": "An address such as https://hooks.example.com/x or mailto:ops@example.com."})

    @property
    def target(self) -> str:
        """Where it goes, without what is secret in a webhook's path."""
        parts = urlsplit(self.url)
        return self.url if parts.scheme == "mailto" else f"{parts.scheme}://{parts.hostname}/…"


def _is_mail(url: str) -> bool:
    """One address, and no headers: `mailto:` could carry both."""
    if not url.startswith("mailto:"):
        return False
    try:
        validate_email(url.removeprefix("mailto:"))
    except ValidationError:
        return False
    return True


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:  # a port that is none
        return False


class Alert(models.Model):
    """Something that a person should know, once: `dedupe` keeps a second one away."""

    class State(models.TextChoices):
        OPEN = "open", "open"
        SEEN = "seen", "seen"
        RESOLVED = "resolved", "resolved"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True, help_text="empty: operators'")
    kind = models.CharField(max_length=40)
    dedupe = models.CharField(max_length=200)
    title = models.CharField(max_length=300)
    body = models.JSONField(default=dict)
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    at = models.DateTimeField()

    class Meta:
        ordering = ("-at",)
        constraints = [
            models.UniqueConstraint(fields=("tenant", "kind", "dedupe"), name="alerted_once", nulls_distinct=False)
        ]

    def __str__(self) -> str:
        return self.title


class Delivery(models.Model):
    """One alert on its way to one channel: claimed by a worker, tried until sent or given up."""

    class State(models.TextChoices):
        WAITING = "waiting", "waiting"
        SENT = "sent", "sent"
        GIVEN_UP = "given_up", "given up"

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE)
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField()
    last_error = models.CharField(max_length=500, blank=True, default="")
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [models.UniqueConstraint(fields=("alert", "channel"), name="delivered_once_each")]
