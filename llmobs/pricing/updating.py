"""Takes over a signed snapshot of prices: what it changes is told first, and it is stored only when told to."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.db import connection, transaction
from django.utils import timezone

from llmobs.core.clock import ns_from_utc
from llmobs.pricing import book
from llmobs.pricing.book import PriceBook
from llmobs.pricing.models import PriceSnapshot
from llmobs.pricing.price import Price
from llmobs.pricing.snapshots import (
    SnapshotError,
    SnapshotFile,
    check_signature,
    content_of,
    fingerprint,
    read_snapshot,
)
from llmobs.tenants import audit
from llmobs.tenants.plain_connection import plain_connection

MOST_TOLD = 200  # models whose price changes, as they are printed

# Calls since a time, by what they are priced as; a day is UTC's.
_RECORDED = """
SELECT provider_name, model, count(DISTINCT (begin_at AT TIME ZONE 'UTC')::date), min(begin_at), sum(requests)::bigint
FROM bill WHERE begin_at >= %s GROUP BY 1, 2 ORDER BY 5 DESC
"""


@dataclass(frozen=True)
class Changed:
    """A model in use whose list price is another with the snapshot. None: no price."""

    provider: str
    model: str
    before: Price | None
    after: Price | None
    days: int  # that have calls since the snapshot's date
    requests: int


@dataclass(frozen=True)
class Update:
    """A checked snapshot, not stored yet."""

    file: SnapshotFile
    signature: str
    key: Ed25519PublicKey
    changed: list[Changed]
    is_known: bool


def prepare(content: bytes, signature: bytes, key: Ed25519PublicKey) -> Update:
    """Check the signature before anything is read of the file, and tell what it changes. Raises SnapshotError."""
    check_signature(content, signature, key)
    file = read_snapshot(content)
    there = PriceSnapshot.objects.filter(name=file.name).first()
    if there is not None and content_of(bytes(there.body)) != content:
        raise SnapshotError(f"there is another snapshot {file.name!r}: none is ever replaced, publish a new name")
    same_date = PriceSnapshot.objects.filter(effective_from=file.effective_from).exclude(name=file.name).first()
    if same_date is not None:
        raise SnapshotError(f"snapshot {same_date.name!r} holds from that very time: it needs a date of its own")
    return Update(file, signature.decode("ascii").strip(), key, _changes(file), there is not None)


def store(update: Update, actor: str) -> PriceSnapshot:
    """Keep it, with its audit entry: every process has it within a second."""
    info = update.file.info
    with transaction.atomic():
        snapshot = PriceSnapshot(
            name=info.name,
            effective_from=update.file.effective_from,
            body=info.body,
            signature=update.signature,
            key_fingerprint=fingerprint(update.key),
        )
        snapshot.full_clean(exclude=["body"])
        snapshot.save()
        change = {
            "effective_from": [None, update.file.effective_from.isoformat()],
            "key": [None, snapshot.key_fingerprint],
            "models changed": [None, len(update.changed)],
        }
        audit.record(actor, "update prices", snapshot, change)
    return snapshot


def _changes(file: SnapshotFile) -> list[Changed]:
    """Of the models that were called since the snapshot's date, else lately."""
    before = book.load(plain_connection())
    with connection.cursor() as cursor:
        after = PriceBook(before.overrides, signed=[*before.signed, file.info])
        cursor.execute(_RECORDED, [file.effective_from])
        rows = cursor.fetchall()
    found = []
    for provider, model, days, first, requests in rows:
        at_ns = ns_from_utc(max(first, file.effective_from))
        old, new = before.list_price(provider, model, at_ns), after.list_price(provider, model, at_ns)
        if _rates(old) != _rates(new):
            found.append(Changed(provider, model, old, new, days, requests))
    return found


def _rates(price: Price | None) -> Any:
    return None if price is None else (price.rates, price.tiers, price.units, price.at_tiers)


def is_backdated(file: SnapshotFile, now: datetime | None = None) -> bool:
    """Whether it holds for a time that is past: calls of then keep their bills until they are priced again."""
    return file.effective_from < (now or timezone.now())
