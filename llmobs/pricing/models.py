"""What it costs: dated prices above the bundled price book, and each model's colour for ever."""

from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import models

from llmobs.pricing.quotes import QuoteError, read_quote
from llmobs.tenants.models import Tenant


def _usd_per_mtok() -> "models.DecimalField[str | None, str | None]":
    return models.DecimalField(max_digits=16, decimal_places=6, null=True, blank=True)


class Price(models.Model):
    """USD per million tokens of a model from a date on; wins over the bundled book. Never edited once used."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True, help_text="empty: all tenants")
    provider = models.CharField(max_length=100)
    model = models.CharField(max_length=200)
    effective_from = models.DateTimeField()
    effective_to = models.DateTimeField(null=True, blank=True, help_text="empty: until a later price begins")
    input_usd_per_mtok = _usd_per_mtok()
    output_usd_per_mtok = _usd_per_mtok()
    cache_read_usd_per_mtok = _usd_per_mtok()
    cache_write_5m_usd_per_mtok = _usd_per_mtok()
    cache_write_1h_usd_per_mtok = _usd_per_mtok()
    units = models.JSONField(
        default=dict, blank=True, help_text='besides text: {"audio_input_usd_per_mtok": "40", …}; see docs/prices.md'
    )
    long_context = models.JSONField(
        default=list, blank=True, help_text='[{"above_input_tokens": 200000, "input_usd_per_mtok": "6", …}]'
    )
    tiers = models.JSONField(
        default=dict, blank=True, help_text='{"batch": {"times": "0.5"}, "priority": {"input_usd_per_mtok": "3.5", …}}'
    )
    max_output_tokens = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("provider", "model", "-effective_from")
        constraints = [
            models.UniqueConstraint(
                fields=("tenant", "provider", "model", "effective_from"),
                name="one_price_at_a_time",
                nulls_distinct=False,
            )
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.model} from {self.effective_from:%Y-%m-%d}"

    def clean(self) -> None:
        try:
            read_quote({field.name: getattr(self, field.name) for field in self._meta.fields})
        except QuoteError as error:
            name = error.where.split(".")[0].split("[")[0]
            known = name in {field.name for field in self._meta.fields}
            raise ValidationError({name: str(error)} if known else str(error)) from None
        begins: datetime | None = self.effective_from
        if self.effective_to is not None and begins is not None and self.effective_to <= begins:
            raise ValidationError({"effective_to": "it ends before it begins"})


class PriceSnapshot(models.Model):
    """A signed list of prices that was taken over; it holds from its own date on, and stays for the calls before."""

    name = models.CharField(max_length=60, unique=True)
    effective_from = models.DateTimeField(unique=True)
    body = models.BinaryField(help_text="the signed file, compressed by zstandard")
    signature = models.TextField()
    key_fingerprint = models.CharField(max_length=16)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "price_snapshot"
        ordering = ("-effective_from",)

    def __str__(self) -> str:
        return f"{self.name} from {self.effective_from:%Y-%m-%d}"


class TrustedProvider(models.Model):
    """A provider whose own word for what an answer cost is what is billed; ours is then not computed."""

    provider = models.CharField(max_length=100, unique=True, help_text="its name, as calls have it: openrouter")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("provider",)

    def __str__(self) -> str:
        return self.provider


class Slot(models.Model):
    """The colour of a model or provider, given in order of first sight and kept for ever (FACES.md, Tokens)."""

    kind = models.CharField(max_length=8)
    name = models.CharField(max_length=200)
    slot = models.PositiveSmallIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("kind", "name"), name="one_slot_each"),
        ]
