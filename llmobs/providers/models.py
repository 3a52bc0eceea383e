"""Who answers: providers, and routes (aliases) to ordered candidates."""

from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import models


class Provider(models.Model):
    """A service that speaks one of our dialects at a base URL."""

    class Dialect(models.TextChoices):
        OPENAI = "openai", "OpenAI"
        ANTHROPIC = "anthropic", "Anthropic"

    name = models.SlugField(max_length=100, unique=True)
    dialect = models.CharField(max_length=12, choices=Dialect.choices)
    base_url = models.CharField(max_length=500)
    credential = models.CharField(
        max_length=2000, blank=True, default="", help_text="env:VARIABLE, file:/path, or sealed (never shown)"
    )
    headers = models.JSONField(default=dict, blank=True)
    prices_like = models.CharField(
        max_length=100, blank=True, default="", help_text="whose prices hold; empty: its own name's"
    )
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValidationError({"base_url": f"{self.base_url!r} is no address such as https://api.openai.com/v1"})
        if parts.username or parts.password:
            raise ValidationError({"base_url": "An address with a password in it; give that as the credential."})
        headers = self.headers
        if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
            raise ValidationError({"headers": 'An object of texts, such as {"openai-organization": "org-1"}.'})


class Route(models.Model):
    """What clients put into "model": an alias to an ordered list of candidates."""

    class Strategy(models.TextChoices):
        FALLBACK = "fallback", "fallback: the first, then the next"

    name = models.CharField(max_length=200, unique=True)
    strategy = models.CharField(max_length=12, choices=Strategy.choices, default=Strategy.FALLBACK)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Candidate(models.Model):
    """One entry of a route."""

    route = models.ForeignKey(Route, on_delete=models.CASCADE, related_name="candidates")
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT)
    model = models.CharField(max_length=200)
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ("position",)
        constraints = [models.UniqueConstraint(fields=("route", "position"), name="one_candidate_at_a_position")]

    def __str__(self) -> str:
        return f"{self.provider.name}/{self.model}"
