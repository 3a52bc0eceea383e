"""A re-pricing: which bills, by which price, and what became of it (llmobs/ingest/adjust_run.py)."""

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, models, transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from llmobs.ingest.adjust import providers_priced_as
from llmobs.pricing import book
from llmobs.pricing.book import PriceBook
from llmobs.pricing.models import Price
from llmobs.pricing.quotes import RATES
from llmobs.pricing.repricing import Question
from llmobs.tenants import audit
from llmobs.tenants.models import Tenant
from llmobs.tenants.plain_connection import plain_connection

NEW, PREVIEWED, APPLYING, APPLIED, UNDOING, UNDONE = "new", "previewed", "applying", "applied", "undoing", "undone"
STATES = (NEW, PREVIEWED, APPLYING, APPLIED, UNDOING, UNDONE)
PRICE_FIELDS = (
    "provider", "model", "effective_from", "effective_to", *RATES, "units", "long_context", "tiers",
    "max_output_tokens",
)  # fmt: skip


_BEGINNING = 0x6C6C6D7273746172  # "llmrstar": one begins at a time


class Repricing(models.Model):
    """Bills begun from `since` to before `until`, computed anew by today's book, with `price` in it where one is given.

    `price` is a price to be set with it: provider, model, effective_from, rates as the REST API spells them.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True, help_text="empty: all tenants")
    providers = models.JSONField(default=list, blank=True)
    model_names = models.JSONField(default=list, blank=True)
    since = models.DateTimeField()
    until = models.DateTimeField()
    price = models.JSONField(null=True, blank=True)
    price_id = models.BigIntegerField(null=True, editable=False)
    note = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=10, default="new", editable=False)
    preview = models.JSONField(null=True, editable=False)
    error = models.CharField(max_length=400, blank=True, editable=False)
    created_by = models.CharField(max_length=200, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    applied_at = models.DateTimeField(null=True, editable=False)
    undone_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "repricing"
        ordering = ("-id",)
        verbose_name = "re-pricing"

    def __str__(self) -> str:
        return f"re-pricing {self.pk}"

    def clean(self) -> None:
        """Which bills, and by what. A price of its own names the model, and from when on."""
        for name in ("providers", "model_names"):
            given = getattr(self, name)
            if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
                raise ValidationError({name: "A list of names; an empty one: all."})
        if (price := self.new_price()) is not None:
            price.full_clean(validate_unique=not self.price_id, validate_constraints=not self.price_id)
            self.providers = self.providers or _billed_as(price.provider)
            self.model_names = self.model_names or [price.model]
        if self.since >= self.until:
            raise ValidationError({"until": "It must be after the time from which on bills change."})

    def question(self) -> Question:
        """What the engine is asked."""
        return Question(self.tenant_id, self.since, self.until, tuple(self.providers), tuple(self.model_names))

    def new_price(self) -> Price | None:
        """The price that is set with it, not saved. Raises ValidationError on what is none."""
        if self.price is None:
            return None
        unknown = sorted(set(self.price) - set(PRICE_FIELDS)) if isinstance(self.price, dict) else ["price"]
        if unknown:
            raise ValidationError({"price": f"Unknown: {', '.join(unknown)[:200]}."})
        values: dict[str, Any] = {name: value for name, value in self.price.items() if value is not None}
        for name in ("effective_from", "effective_to"):
            if name in values:
                values[name] = _moment(name, values[name])
        return Price(tenant=self.tenant, **values)

    def book(self) -> PriceBook:
        """Today's book, with the price that it is to set; nothing is kept of that."""
        price = self.new_price()
        with transaction.atomic():
            if price is not None and self.price_id is None:
                price.save()
            found = book.load(plain_connection())
            transaction.set_rollback(True)
        return found

    @transaction.atomic
    def begin(self, actor: str) -> None:
        """Let it be applied: the price is set, and what is to be done is a row. Raises ValidationError."""
        if busy := self._of_the_same_bills().filter(state__in=(APPLYING, UNDOING)).first():
            raise ValidationError(f"{str(busy).capitalize()} is at some of the same bills now: wait for its end.")
        self._move((PREVIEWED,), APPLYING, actor, "apply")
        if (price := self.new_price()) is not None:
            audit.save(price, actor)
            self.price_id = price.pk
            self.save(update_fields=["price_id"])

    @transaction.atomic
    def begin_undoing(self, actor: str) -> None:
        """Let it be undone; the price that came with it goes, for calls to come. Raises ValidationError."""
        if later := self._later():
            raise ValidationError(f"{str(later).capitalize()} changed some of the same bills since: undo that first.")
        self._move((APPLIED,), UNDOING, actor, "undo")
        if self.price_id and (price := Price.objects.filter(pk=self.price_id).first()) is not None:
            audit.delete(price, actor)

    def _later(self) -> "Repricing | None":
        """One that was applied after this one, whichever was made first."""
        since = models.Q(state__in=(APPLYING, UNDOING))
        if self.applied_at is not None:
            since |= models.Q(state=APPLIED, applied_at__gt=self.applied_at)
        return self._of_the_same_bills().filter(since).first()

    def _of_the_same_bills(self) -> "models.QuerySet[Repricing]":
        """Others that may change some of its bills. None begins until the transaction ends."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_BEGINNING])
        rows = Repricing.objects.exclude(pk=self.pk).filter(since__lt=self.until, until__gt=self.since)
        if self.tenant_id is not None:
            rows = rows.filter(models.Q(tenant=self.tenant_id) | models.Q(tenant__isnull=True))
        return rows

    def _move(self, before: tuple[str, ...], after: str, actor: str, action: str) -> None:
        """Compare and set, with its audit entry."""
        if not Repricing.objects.filter(pk=self.pk, state__in=before).update(state=after):
            self.refresh_from_db(fields=["state"])
            raise ValidationError(f"It is {self.state}; only what is {' or '.join(before)} can be done so.")
        audit.record(actor, action, self, {"state": [self.state, after]})
        self.state = after


def _billed_as(provider: str) -> list[str]:
    """The provider, and those of ours that go by its prices."""
    priced_as = providers_priced_as(plain_connection())
    return [provider, *sorted(name for name, like in priced_as.items() if like == provider and name != provider)]


def _moment(name: str, given: Any) -> datetime:
    at = parse_datetime(given) if isinstance(given, str) else None
    if at is None:
        raise ValidationError({name: f"{str(given)[:60]!r} is no time; one is 2026-11-20T12:00Z"})
    return timezone.make_aware(at) if timezone.is_naive(at) else at
