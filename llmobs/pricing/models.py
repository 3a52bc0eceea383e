"""What it costs: dated prices above the bundled price book, and each model's colour for ever."""

from django.db import models

from llmobs.tenants.models import Tenant


def _usd_per_mtok() -> "models.DecimalField[str | None, str | None]":
    return models.DecimalField(max_digits=16, decimal_places=6, null=True, blank=True)


class Price(models.Model):
    """USD per million tokens of a model from a date on; wins over the bundled book. Never edited once used."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True, help_text="empty: all tenants")
    provider = models.CharField(max_length=100)
    model = models.CharField(max_length=200)
    effective_from = models.DateTimeField()
    input_usd_per_mtok = _usd_per_mtok()
    output_usd_per_mtok = _usd_per_mtok()
    cache_read_usd_per_mtok = _usd_per_mtok()
    cache_write_5m_usd_per_mtok = _usd_per_mtok()
    cache_write_1h_usd_per_mtok = _usd_per_mtok()
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


class Slot(models.Model):
    """The colour of a model or provider, given in order of first sight and kept for ever (FACES.md, Tokens)."""

    kind = models.CharField(max_length=8)
    name = models.CharField(max_length=200)
    slot = models.PositiveSmallIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("kind", "name"), name="one_slot_each"),
        ]
