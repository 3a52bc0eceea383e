"""Who: tenants, their keys and people, and the record of what people changed."""

from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Value

from llmobs.core.money import MOST_NANOUSD
from llmobs.tenants import braking, caching, keeping


class User(AbstractUser):
    """A person who signs in. Operators (`is_staff`) see every tenant, others those they are members of."""


class Tenant(models.Model):
    """Who pays: the wall around keys, budgets, spans and pages."""

    class Plan(models.TextChoices):
        NONE = "none", "none: no quotas"
        FREE = "free", "free"
        PAID = "paid", "paid"

    class Content(models.TextChoices):
        FULL = "full", "full: kept as sent"
        REDACTED = "redacted", "redacted: personal data and secrets replaced"
        HASH = "hash", "hash: fingerprints alone"
        NONE = "none", "none: not kept"

    class Injection(models.TextChoices):
        OFF = "off", "off: not looked for"
        LOG = "log", "log: recorded after the call"
        FLAG = "flag", "flag: told to the caller"
        BLOCK = "block", "block: the call is refused"

    class Sensitive(models.TextChoices):
        OFF = "off", "off: not looked for"
        LOG = "log", "log: recorded after the call"
        FLAG = "flag", "flag: told to the caller"
        MASK = "mask", "mask: placeholders in its place"
        BLOCK = "block", "block: the call is refused"

    slug = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=200)
    plan = models.CharField(max_length=8, choices=Plan.choices, default=Plan.NONE)
    content = models.CharField(max_length=8, choices=Content.choices, default=Content.REDACTED)
    time_zone = models.CharField(max_length=64, default="UTC", help_text="IANA name, such as Europe/Berlin")
    retention_days = models.PositiveIntegerField(default=keeping.DEFAULT_DAYS, help_text="days that spans are kept")
    content_retention_days = models.PositiveIntegerField(
        null=True, blank=True, help_text="of prompts and answers; empty: as long as spans"
    )
    rollup_retention_days = models.PositiveIntegerField(
        null=True, blank=True, help_text="of what charts add up; empty: as long as spans"
    )
    bill_retention_days = models.PositiveIntegerField(null=True, blank=True, help_text="empty: for ever")
    archive = models.CharField(
        max_length=8,
        choices=list(keeping.ARCHIVES.items()),
        default=keeping.OFF,
        db_default=keeping.OFF,
        help_text="what is written to Parquet before it is let go",
    )
    raw_body_days = models.PositiveIntegerField(
        blank=True,
        default=0,
        db_default=0,
        help_text="days that reported bodies are kept as they came, for better adapters to read again; 0: not at all; "
        "only where content is full",
    )
    cache = models.CharField(
        max_length=10, default="off", db_default="off", help_text="off or exact: unless a key or a call says otherwise"
    )
    cache_ttl_seconds = models.JSONField(
        default=dict,
        db_default=Value({}, models.JSONField()),
        blank=True,
        help_text='Seconds by feature, such as {"faq": 172800, "*": 3600}; 0: not at all; unset: 3600',
    )
    cache_mb = models.PositiveIntegerField(
        default=caching.DEFAULT_MB, db_default=caching.DEFAULT_MB, help_text="Most megabytes of cached answers"
    )
    injection = models.CharField(
        max_length=8,
        choices=Injection.choices,
        default=Injection.LOG,
        db_default=Injection.LOG,
        help_text="prompt injection in what users and tools say",
    )
    injection_threshold = models.DecimalField(
        max_digits=4,
        decimal_places=3,
        default=Decimal("0.7"),
        db_default=Decimal("0.7"),
        validators=[MinValueValidator(Decimal("0.001")), MaxValueValidator(1)],
        help_text="score from which on a text is taken for an injection; above 0, up to 1",
    )
    sensitive_input = models.CharField(
        max_length=8,
        choices=Sensitive.choices,
        default=Sensitive.LOG,
        db_default=Sensitive.LOG,
        help_text="personal data and secrets in requests",
    )
    sensitive_output = models.CharField(
        max_length=8,
        choices=Sensitive.choices,
        default=Sensitive.LOG,
        db_default=Sensitive.LOG,
        help_text="personal data and secrets in answers",
    )
    most_input_characters = models.PositiveIntegerField(
        null=True, blank=True, help_text="longest message of a user, in characters; empty: as long as the model takes"
    )
    confidential_only_local = models.BooleanField(
        default=False, db_default=False, help_text="confidential content goes to local providers alone"
    )
    brake = models.CharField(
        max_length=8,
        choices=list(braking.MODES.items()),
        default=braking.OFF,
        db_default=braking.OFF,
        help_text="what becomes of sessions that run away",
    )
    brake_marks = models.JSONField(
        default=dict,
        db_default=Value({}, models.JSONField()),
        blank=True,
        help_text='Where they differ from the defaults, such as {"alike_calls": 50, "cost_usd": "0.50"}',
    )
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    members: "models.ManyToManyField[User, Membership]" = models.ManyToManyField(
        User, through="Membership", related_name="tenants"
    )

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.slug

    def clean(self) -> None:
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValidationError(
                {"time_zone": f"{self.time_zone!r} is no IANA time zone, such as Europe/Berlin"}
            ) from None
        if errors := keeping.days_errors(
            self.retention_days, self.content_retention_days, self.rollup_retention_days, self.bill_retention_days
        ):
            raise ValidationError(errors)
        self.raw_body_days = self.raw_body_days or 0  # a form's empty field
        if self.raw_body_days and self.content != self.Content.FULL:
            raise ValidationError({"raw_body_days": "A body holds all that was sent: only where content is full."})
        if error := caching.mode_error(self.cache, is_key=False):
            raise ValidationError({"cache": error})
        if self.cache_ttl_seconds is None:  # a form's empty field
            self.cache_ttl_seconds = {}
        if error := caching.ttl_error(self.cache_ttl_seconds):
            raise ValidationError({"cache_ttl_seconds": error})
        if self.brake_marks is None:  # a form's empty field
            self.brake_marks = {}
        if error := braking.marks_error(self.brake_marks):
            raise ValidationError({"brake_marks": error})
        if not 1 <= self.cache_mb <= caching.MOST_MB:
            raise ValidationError({"cache_mb": f"Between 1 and {caching.MOST_MB} megabytes."})


class Membership(models.Model):
    """A person's place in a tenant."""

    class Role(models.TextChoices):
        VIEWER = "viewer", "viewer: reads"
        ADMIN = "admin", "admin: reads and changes"

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    role = models.CharField(max_length=8, choices=Role.choices, default=Role.VIEWER)

    class Meta:
        constraints = [models.UniqueConstraint(fields=("user", "tenant"), name="one_membership_each")]

    def __str__(self) -> str:
        return f"{self.user} in {self.tenant}"


class Key(models.Model):
    """A credential that we issue: its SHA-256 is kept, its secret is shown once.

    A key without a tenant is an operator key (REST only, every tenant).
    """

    class Criticality(models.TextChoices):
        REALTIME = "realtime", "real-time"
        BACKGROUND = "background", "background"
        BEST_EFFORT = "best_effort", "best effort"

    class Unpriced(models.TextChoices):
        REFUSE = "refuse", "refuse when a hard budget applies"
        CEILING = "ceiling", "hold what unpriced_nanousd says"
        ALLOW = "allow", "allow and flag"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="keys", null=True, blank=True)
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, editable=False, help_text="The first characters, to know it by")
    secret_hash = models.CharField(max_length=64, unique=True, editable=False, help_text="SHA-256, hex")
    service = models.CharField(max_length=100, blank=True, default="")
    environment = models.CharField(max_length=100, blank=True, default="")
    feature = models.CharField(max_length=100, blank=True, default="")
    allowed_models = models.JSONField(
        default=list, blank=True, help_text='Names or globs, such as ["gpt-*"]; empty: any'
    )
    criticality = models.CharField(max_length=12, choices=Criticality.choices, default=Criticality.BACKGROUND)
    cache = models.CharField(
        max_length=10, default="", db_default="", blank=True, help_text="off or exact; empty: as the tenant says"
    )
    unpriced = models.CharField(max_length=8, choices=Unpriced.choices, default=Unpriced.REFUSE)
    unpriced_nanousd = models.BigIntegerField(
        null=True, blank=True, help_text="nano-USD that a call of a model without a price holds"
    )
    most_output_tokens = models.PositiveIntegerField(
        null=True, blank=True, help_text="ceiling of answers to requests that set none; empty: the model's own"
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("tenant__slug", "name")
        constraints = [models.UniqueConstraint(fields=("tenant", "name"), name="key_name_once_per_tenant")]

    def __str__(self) -> str:
        return f"{self.tenant.slug}/{self.name}" if self.tenant else f"operator/{self.name}"

    def clean(self) -> None:
        models_named = self.allowed_models
        if not isinstance(models_named, list) or not all(isinstance(name, str) and name for name in models_named):
            raise ValidationError({"allowed_models": 'A list of names or globs, such as ["gpt-*"]; empty: any.'})
        if error := caching.mode_error(self.cache, is_key=True):
            raise ValidationError({"cache": error})
        if (self.unpriced == self.Unpriced.CEILING) != (self.unpriced_nanousd is not None):
            raise ValidationError(
                {"unpriced_nanousd": "The amount is given with unpriced: ceiling, and with it alone."}
            )
        if self.unpriced_nanousd is not None and not 0 < self.unpriced_nanousd <= MOST_NANOUSD:
            raise ValidationError({"unpriced_nanousd": "More than 0, up to 9,000,000 USD."})
        if self.most_output_tokens == 0:
            raise ValidationError({"most_output_tokens": "At least one token; empty: the model's own ceiling."})


class AuditEntry(models.Model):
    """Who changed what, when: written with the change, never edited."""

    tenant = models.ForeignKey(Tenant, on_delete=models.SET_NULL, null=True, blank=True)
    actor = models.CharField(max_length=200)
    action = models.CharField(max_length=40)
    kind = models.CharField(max_length=40)
    name = models.CharField(max_length=200)
    change = models.JSONField(default=dict)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-at",)
        indexes = [models.Index(fields=("tenant", "-at"))]
        verbose_name_plural = "audit entries"
