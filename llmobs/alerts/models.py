"""Who must know: channels, rules, alerts, and each delivery of an alert to a channel."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models

from llmobs.alerts import addresses
from llmobs.alerts.kinds import KINDS, SEVERITIES, WARNING
from llmobs.alerts.rule_checks import RuleError, check_rule
from llmobs.alerts.signing import new_secret
from llmobs.providers.credentials import SEALED, open_credential, seal
from llmobs.tenants.models import Tenant


class Channel(models.Model):
    """Where alerts go: a webhook (https://…), an address (mailto:…), or a service that apprise knows (slack://…)."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True, help_text="empty: operators'")
    name = models.CharField(max_length=100)
    url = models.TextField(editable=False, help_text="sealed: what it holds may be a secret")
    target = models.CharField(max_length=300, editable=False, default="", help_text="where it goes, without secrets")
    kinds = models.JSONField(default=list, blank=True, help_text='["budget_threshold", …]; empty: every kind')
    severities = models.JSONField(default=list, blank=True, help_text='["critical", …]; empty: every severity')
    tenants = models.JSONField(
        default=list, blank=True, help_text='of an operators\' channel: whose alerts it hears too, ["acme"]; ["*"]: all'
    )
    is_enabled = models.BooleanField(default=True)
    signing_secret = models.TextField(editable=False, default="", help_text="sealed; of webhooks alone")
    previous_secret = models.TextField(editable=False, default="", help_text="sealed; signs too until it ends")
    previous_until = models.DateTimeField(null=True, editable=False)
    # One delivery at a time: until then a worker is at it. A worker that was killed leaves it to pass.
    busy_until = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    _sealed = ""  # what this object sealed itself

    class Meta:
        ordering = ("name",)
        constraints = [
            models.UniqueConstraint(fields=("tenant", "name"), name="channel_name_once", nulls_distinct=False)
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def address(self) -> str:
        """What was given as the channel's URL, opened. Raises CredentialError."""
        return self.url if not self.url.startswith(SEALED) else open_credential(self.url, _encryption_keys())

    @property
    def is_signed(self) -> bool:
        return addresses.is_web(self.address)

    def clean(self) -> None:
        if self.url.startswith(SEALED) and self.url not in (self._sealed, self._stored_url()):
            raise ValidationError({"url": addresses.EXAMPLE})  # a sealed text that somebody brought along
        try:
            addresses.check(self.address, settings.ALERT_SCHEMES)
        except addresses.AddressError as error:
            raise ValidationError({"url": str(error)}) from None
        self._seal()
        _clean_choices("kinds", self.kinds, KINDS)
        _clean_choices("severities", self.severities, SEVERITIES)
        self._clean_tenants()

    def save(self, *args: object, **kwargs: object) -> None:
        self._seal()
        super().save(*args, **kwargs)  # type: ignore[arg-type]

    def give_secret(self) -> str:
        """A new signing secret (to be saved yet), which is returned to be shown once."""
        secret = new_secret()
        self.signing_secret = seal(secret, _encryption_keys())
        return secret

    def open_secret(self) -> str:
        """The signing secret, to be shown once to who made the channel; "" where nothing is signed."""
        return open_credential(self.signing_secret, _encryption_keys())

    def _seal(self) -> None:
        """Whatever door it came through: what is written is sealed. The same address keeps its sealed text."""
        address = self.address
        if not self.url.startswith(SEALED):
            self.target = addresses.shown(address)
            before = self._stored_url()
            is_same = bool(before) and open_credential(before, _encryption_keys()) == address
            self.url = self._sealed = before if is_same else seal(address, _encryption_keys())
        if not self.signing_secret and addresses.is_web(address):
            self.give_secret()

    def _stored_url(self) -> str:
        row = Channel.objects.filter(pk=self.pk).values_list("url").first() if self.pk else None
        return row[0] if row else ""

    def _clean_tenants(self) -> None:
        if not isinstance(self.tenants, list) or not all(isinstance(slug, str) for slug in self.tenants):
            raise ValidationError({"tenants": 'A list of slugs, such as ["acme"]; ["*"]: all.'})
        if self.tenants and self.tenant_id is not None:
            raise ValidationError({"tenants": "A tenant's channel hears its own tenant alone."})
        known = set(Tenant.objects.filter(slug__in=self.tenants).values_list("slug", flat=True)) | {"*"}
        if unknown := sorted(set(self.tenants) - known):
            raise ValidationError({"tenants": f"there is no tenant {unknown[0]!r}"})


def _encryption_keys() -> tuple[str, ...]:
    return tuple(settings.SECRETS.encryption_keys)


def _clean_choices(name: str, given: object, known: tuple[str, ...]) -> None:
    if not isinstance(given, list) or any(each not in known for each in given):
        raise ValidationError({name: f"A list of any of {', '.join(known)}; empty: all."})


class AlertRule(models.Model):
    """What is watched besides budgets' thresholds: a figure of a window against a threshold."""

    tenant = models.ForeignKey(
        Tenant, on_delete=models.CASCADE, null=True, blank=True, help_text="empty: every tenant, each for itself"
    )
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=40, help_text="of alerts/kinds.py")
    filters = models.JSONField(default=dict, blank=True, help_text='{"feature": "chat"}; {}: all calls')
    group_by = models.CharField(max_length=20, blank=True, default="", help_text="user: an alert for each user")
    threshold = models.DecimalField(
        max_digits=18, decimal_places=6, null=True, blank=True, help_text="in the kind's unit; empty: the kind's own"
    )
    window_minutes = models.PositiveIntegerField(null=True, blank=True, help_text="empty: the kind's own")
    minimum_count = models.PositiveIntegerField(null=True, blank=True, help_text="calls below which nothing is said")
    severity = models.CharField(max_length=8, choices=[(each, each) for each in SEVERITIES], default=WARNING)
    quiet_minutes = models.PositiveIntegerField(
        default=5, help_text="it resolves once the condition has not held for so long"
    )
    remind_hours = models.PositiveIntegerField(default=24, help_text="tell again while it is open; 0: never")
    channels = models.ManyToManyField(Channel, blank=True, related_name="rules", help_text="none: all of the tenant's")
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        constraints = [models.UniqueConstraint(fields=("tenant", "name"), name="rule_name_once", nulls_distinct=False)]

    def __str__(self) -> str:
        return self.name if self.tenant is None else f"{self.tenant.slug}/{self.name}"

    def clean(self) -> None:
        try:
            check_rule(self.kind, self.filters, self.group_by, self.threshold, self.window_minutes)
        except RuleError as error:
            raise ValidationError({error.field: str(error)}) from None


class Alert(models.Model):
    """Something that a person should know: opened once for its key (alerts/raising.py)."""

    class State(models.TextChoices):
        OPEN = "open", "open"
        ACKNOWLEDGED = "acknowledged", "acknowledged"
        RESOLVED = "resolved", "resolved"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True, help_text="empty: operators'")
    rule = models.ForeignKey(AlertRule, on_delete=models.SET_NULL, null=True, blank=True)
    kind = models.CharField(max_length=40)
    dedupe = models.CharField(max_length=200)
    severity = models.CharField(max_length=8, default=WARNING)
    title = models.CharField(max_length=300)
    body = models.JSONField(default=dict)
    link = models.CharField(max_length=1000, blank=True, default="", help_text="the page that shows what fired it")
    state = models.CharField(max_length=12, choices=State.choices, default=State.OPEN)
    is_once = models.BooleanField(default=True, help_text="never another one of this key")
    ended_id = models.BigIntegerField(default=0, help_text="its own id once another of its key may open")
    at = models.DateTimeField()
    last_at = models.DateTimeField(null=True, help_text="when the condition last held")
    told_at = models.DateTimeField(null=True)
    messages = models.PositiveIntegerField(default=1, help_text="how often channels were told, the opening included")
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=200, blank=True, default="")
    resolved_at = models.DateTimeField(null=True)
    resolved_by = models.CharField(max_length=200, blank=True, default="", help_text="empty: by itself")

    class Meta:
        ordering = ("-at",)
        constraints = [
            models.UniqueConstraint(
                fields=("tenant", "kind", "dedupe", "ended_id"), name="alerted_once", nulls_distinct=False
            )
        ]
        indexes = [models.Index(fields=("tenant", "state", "-at"), name="alert_by_state")]

    def __str__(self) -> str:
        return self.title


class Delivery(models.Model):
    """One message about an alert on its way to one channel: claimed by a worker, tried until sent or given up."""

    class State(models.TextChoices):
        WAITING = "waiting", "waiting"
        SENT = "sent", "sent"
        GIVEN_UP = "given_up", "given up"

    class Event(models.TextChoices):
        OPENED = "opened", "opened"
        REMINDED = "reminded", "reminded"
        RESOLVED = "resolved", "resolved"

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE)
    event = models.CharField(max_length=8, choices=Event.choices, default=Event.OPENED)
    number = models.PositiveIntegerField(default=1, help_text="which of the alert's messages it is")
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField()
    last_error = models.CharField(max_length=500, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [models.UniqueConstraint(fields=("alert", "channel", "number"), name="delivered_once_each")]
        indexes = [
            models.Index(fields=("next_at",), condition=models.Q(state="waiting"), name="delivery_waiting"),
        ]
