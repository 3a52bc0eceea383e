"""Who answers: providers, and routes (aliases) to ordered candidates."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Value

from llmobs.providers import rules
from llmobs.providers.registry import RETRIES


class Provider(models.Model):
    """A service that speaks one of our dialects at a base URL."""

    class Dialect(models.TextChoices):
        OPENAI = "openai", "OpenAI"
        ANTHROPIC = "anthropic", "Anthropic"

    class Auth(models.TextChoices):
        BEARER = "bearer", "authorization: Bearer …"
        X_API_KEY = "x-api-key", "x-api-key: …"
        API_KEY = "api-key", "api-key: … (Azure)"
        NONE = "none", "not at all"

    class ServiceTier(models.TextChoices):
        AUTO = "auto", "auto: the dearest that it may give"
        BATCH = "batch", "batch"
        FLEX = "flex", "flex"
        PRIORITY = "priority", "priority"
        FAST = "fast", "fast"

    name = models.SlugField(max_length=100, unique=True)
    dialect = models.CharField(max_length=12, choices=Dialect.choices)
    base_url = models.CharField(max_length=500)
    credential = models.CharField(
        max_length=2000, blank=True, default="", help_text="env:VARIABLE, file:/path, or sealed (never shown)"
    )
    credentials = models.JSONField(
        default=list, db_default=Value([], models.JSONField()), blank=True,
        help_text='several, by weight: [{"credential": "env:A", "weight": 2}, …]; sealed like the single one',
    )  # fmt: skip
    auth = models.CharField(
        max_length=12, choices=Auth.choices, blank=True, default="", db_default="",
        help_text="how the credential is sent; empty: as the dialect does",
    )  # fmt: skip
    headers = models.JSONField(default=dict, blank=True)
    api_version = models.CharField(
        max_length=40, blank=True, default="", db_default="", help_text="Azure's, sent as ?api-version="
    )
    query = models.JSONField(default=dict, db_default=Value({}, models.JSONField()), blank=True)
    paths = models.JSONField(
        default=dict, db_default=Value({}, models.JSONField()), blank=True,
        help_text='by operation: {"chat": "/openai/deployments/{model}/chat/completions"}',
    )  # fmt: skip
    serves = models.JSONField(
        default=list, db_default=Value([], models.JSONField()), blank=True,
        help_text='operations that it speaks: ["chat", "embeddings"]; empty: as the dialect does',
    )  # fmt: skip
    prices_like = models.CharField(
        max_length=100, blank=True, default="", help_text="whose prices hold; empty: its own name's"
    )
    breaker = models.BooleanField(default=True, db_default=True, help_text="stop asking it for a while when it fails")
    retries = models.PositiveSmallIntegerField(default=RETRIES, db_default=RETRIES)
    is_local = models.BooleanField(default=False, db_default=False, help_text="confidential content may go there")
    connect_seconds = models.FloatField(null=True, blank=True)
    first_byte_seconds = models.FloatField(null=True, blank=True, help_text="of a stream")
    whole_seconds = models.FloatField(null=True, blank=True, help_text="of a whole answer")
    ca_file = models.CharField(
        max_length=500, blank=True, default="", db_default="",
        help_text="certificates that vouch for it, in a file where the gateway runs",
    )  # fmt: skip
    verify = models.BooleanField(default=True, db_default=True, help_text="off: any certificate is taken")
    default_service_tier = models.CharField(
        max_length=12, choices=ServiceTier.choices, blank=True, default="", db_default="",
        help_text="of requests that name none, as your account is set up there: what is held goes by it",
    )  # fmt: skip
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        _fill(self, credentials=[], headers={}, query={}, paths={}, serves=[])
        _check(
            base_url=rules.base_url(self.base_url),
            credentials=rules.credentials(self.credentials),
            headers=rules.headers(self.headers),
            query=rules.query(self.query),
            paths=rules.paths(self.paths),
            serves=rules.serves(self.serves),
            retries="" if self.retries <= rules.MOST_RETRIES else f"Up to {rules.MOST_RETRIES}.",
            connect_seconds=rules.seconds(self.connect_seconds),
            first_byte_seconds=rules.seconds(self.first_byte_seconds),
            whole_seconds=rules.seconds(self.whole_seconds),
        )
        if self.credential and self.credentials:
            raise ValidationError({"credentials": "Either one credential or several."})


class Overrun(models.Model):
    """A bill above what was held for it, as a gateway saw it last (llmobs.providers.overruns)."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="overruns")
    model = models.CharField(max_length=200)
    tier = models.CharField(max_length=40, blank=True, default="", help_text="held for from then on; empty: no tier")
    held_nanousd = models.BigIntegerField()
    cost_nanousd = models.BigIntegerField(null=True)
    trace_id = models.BinaryField()
    seen_at = models.DateTimeField()
    alerted_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-seen_at",)
        constraints = [
            models.UniqueConstraint(fields=("provider", "model", "tier"), name="one_overrun_of_a_model_and_tier")
        ]

    def __str__(self) -> str:
        return f"{self.provider.name}/{self.model} {self.tier}".rstrip()


class Route(models.Model):
    """What clients put into "model": an alias to an ordered list of candidates."""

    class Strategy(models.TextChoices):
        FALLBACK = "fallback", "fallback: the first, then the next"
        WEIGHTED = "weighted", "weighted: by the candidates' weights"
        CHEAPEST = "cheapest", "cheapest: at or above the quality floor"
        FASTEST = "fastest", "fastest: by what was measured of late"
        CASCADE = "cascade", "cascade: cheap first, the next if its answer is poor"

    name = models.CharField(max_length=200, unique=True)
    strategy = models.CharField(max_length=12, choices=Strategy.choices, default=Strategy.FALLBACK)
    quality_floor = models.FloatField(
        default=0.0, db_default=0.0, help_text="0 to 1: candidates below it, or without a quality, are left out"
    )
    last_resort = models.JSONField(
        default=list, db_default=Value([], models.JSONField()), blank=True,
        help_text='when no candidate answered: ["stale_cache", "static"]',
    )  # fmt: skip
    static_text = models.TextField(blank=True, default="", db_default="", max_length=10_000)
    tasks = models.JSONField(
        default=list, db_default=Value([], models.JSONField()), blank=True,
        help_text='answers for these where the model is "auto": ["classification", …]',
    )  # fmt: skip
    hedge_after_ms = models.PositiveIntegerField(
        default=0, db_default=0, help_text="ask the next candidate too when the first is silent for so long; 0: never"
    )
    cascade_threshold = models.FloatField(
        default=0.5, db_default=0.5, help_text="0 to 1: an answer scored below it goes on to the next candidate"
    )
    cascade_scorer = models.CharField(
        max_length=200, blank=True, default="", db_default="",
        help_text="a route that scores the answers; empty: built-in signs",
    )  # fmt: skip
    salt = models.CharField(
        max_length=64, blank=True, default="", db_default="", help_text="another one draws the canary's users anew"
    )
    confidential_only_local = models.BooleanField(
        default=False, db_default=False, help_text="confidential content goes to local providers alone"
    )
    most_output_tokens = models.PositiveIntegerField(
        null=True, blank=True, help_text="ceiling of answers to requests that set none; empty: the model's own"
    )

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        _fill(self, last_resort=[], tasks=[])
        _check(
            quality_floor=_share(self.quality_floor),
            cascade_threshold=_share(self.cascade_threshold),
            most_output_tokens="At least one token." if self.most_output_tokens == 0 else "",
            last_resort=rules.last_resort(self.last_resort),
            tasks=rules.tasks(self.tasks),
            cascade_scorer="A route cannot score its own answers." if self.cascade_scorer == self.name else "",
        )
        if "static" in self.last_resort and not self.static_text.strip():
            raise ValidationError({"static_text": "What to answer: last_resort names static."})


class Candidate(models.Model):
    """One entry of a route."""

    route = models.ForeignKey(Route, on_delete=models.CASCADE, related_name="candidates")
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT)
    model = models.CharField(max_length=200)
    position = models.PositiveSmallIntegerField(default=0)
    weight = models.FloatField(default=1.0, db_default=1.0)
    quality = models.FloatField(null=True, blank=True, help_text="0 to 1, as your evaluations found")
    canary_percent = models.FloatField(default=0.0, db_default=0.0, help_text="of users who get it first")

    class Meta:
        ordering = ("position",)
        constraints = [models.UniqueConstraint(fields=("route", "position"), name="one_candidate_at_a_position")]

    def __str__(self) -> str:
        return f"{self.provider.name}/{self.model}"

    def clean(self) -> None:
        _check(
            weight="" if 0 <= self.weight <= rules.MOST_WEIGHT else f"Between 0 and {rules.MOST_WEIGHT:,}.",
            quality="" if self.quality is None else _share(self.quality),
            canary_percent="" if 0 <= self.canary_percent <= 100 else "Between 0 and 100.",
        )


def _fill(row: models.Model, **empty: Any) -> None:
    """A form's emptied JSON field is nothing at all: what stands for nothing in the table."""
    for name, value in empty.items():
        if getattr(row, name) is None:
            setattr(row, name, value)


def _share(given: float) -> str:
    return "" if 0 <= given <= 1 else "Between 0 and 1."


def _check(**errors: str) -> None:
    found = {name: error for name, error in errors.items() if error}
    if found:
        raise ValidationError(found)
