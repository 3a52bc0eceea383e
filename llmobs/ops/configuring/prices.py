"""The file's part `models`: prices where the bundled book has none or another."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.utils import timezone

from llmobs.ops.configuring.applying import Applying, at, named, refuse
from llmobs.ops.configuring.entry import Entry, Part
from llmobs.ops.configuring.values import aware, decimal
from llmobs.pricing.models import Price
from llmobs.pricing.quotes import RATES
from llmobs.tenants.models import Tenant

# A model's first price without a date holds for whatever was called before, too.
ALWAYS = datetime(2000, 1, 1, tzinfo=UTC)


class ModelEntry(Entry, frozen=True):
    provider: str
    model: str
    input_usd_per_mtok: str | int | None = None
    output_usd_per_mtok: str | int | None = None
    cache_read_usd_per_mtok: str | int | None = None
    cache_write_5m_usd_per_mtok: str | int | None = None
    cache_write_1h_usd_per_mtok: str | int | None = None
    max_output_tokens: int | None = None
    effective_from: datetime | None = None
    effective_to: datetime | None = None
    tenant: str | None = None
    units: dict[str, str | int] = {}
    long_context: list[dict[str, Any]] = []
    tiers: dict[str, dict[str, Any]] = {}


def apply(applying: Applying, entry: ModelEntry, path: str) -> None:
    with at(path):
        applying.save(_price(entry))


def _price(entry: ModelEntry) -> Price:
    rates = {name: _rate(name, getattr(entry, name)) for name in RATES}
    tenant = None if entry.tenant is None else named(Tenant, "tenant", slug=entry.tenant)
    rows = Price.objects.filter(tenant=tenant, provider=entry.provider, model=entry.model)
    values = {
        **rates,
        "max_output_tokens": entry.max_output_tokens,
        "effective_to": None if entry.effective_to is None else aware("effective_to", entry.effective_to),
        "units": entry.units,
        "long_context": entry.long_context,
        "tiers": entry.tiers,
    }
    if entry.effective_from is not None:
        since = aware("effective_from", entry.effective_from)
        price = rows.filter(effective_from=since).first()
    else:
        price = rows.filter(effective_from__lte=timezone.now()).order_by("-effective_from").first()
        since = timezone.now() if price else ALWAYS
    if price is not None and any(getattr(price, name) != value for name, value in values.items()):
        if entry.effective_from is not None:
            refuse("effective_from", "there is another price from this time on, and a price is never edited")
        price = None
    return price or Price(tenant=tenant, provider=entry.provider, model=entry.model, effective_from=since, **values)


def _rate(name: str, usd: str | int | None) -> Decimal | None:
    amount = None if usd is None else decimal(name, usd)
    if amount is not None and amount < 0:
        refuse(name, f"{usd} is below 0")
    return amount


MODELS = Part(
    "models",
    ModelEntry,
    apply,
    named=lambda entry: f"{entry.tenant or ''}/{entry.provider}/{entry.model}@{entry.effective_from}",
    explained="prices where the bundled book has none or another: provider, model, "
    + ", ".join(RATES)
    + ", units, long_context, tiers, max_output_tokens, tenant, effective_from, effective_to (times with their zone)",
)
