"""Copies the board of the gateways (llmobs/health/board.py) into `provider_state`, by whoever comes: a worker.

1. Each row that is not closed is a stretch; where the state differs from the open stretch, that one ends and a new
   one begins. Rows that are closed, or gone, end theirs.
2. A stretch that follows right upon another one belongs to the same outage: nobody is told of it again.

The board is read before the transaction; two workers that come at once find the same, and the constraint keeps one.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from django.db import transaction

from llmobs.health.board import Row, provider_and_model
from llmobs.health.models import ProviderState
from llmobs.providers.models import Provider

KEPT = timedelta(days=400)
SHARES_PERCENT = (10, 25, 50, 100)  # of the ramp, by its steps
MOST_MODEL_CHARACTERS = 300
_STATES = {"open": ProviderState.State.UNHEALTHY, "ramp": ProviderState.State.RECOVERING}


def follow(rows: Mapping[str, Row], now: datetime) -> int:
    """Bring the stretches up to the board; returns how many began or ended."""
    wanted = _wanted(rows)
    with transaction.atomic():
        open_now = {
            (stretch.provider_id, stretch.model): stretch
            for stretch in ProviderState.objects.select_for_update().filter(until=None)
        }
        known = set(Provider.objects.values_list("pk", flat=True)) if wanted.keys() - open_now.keys() else set()
        changes = 0
        for key, stretch in open_now.items():
            changes += _changed(stretch, wanted.get(key), now)
        for key, row in wanted.items():
            if key not in open_now and key[0] in known:
                changes += _begun(key, row, told_at=None)
        if changes:
            ProviderState.objects.filter(until__lt=now - KEPT).delete()
    return changes


def _wanted(rows: Mapping[str, Row]) -> dict[tuple[int, str], Row]:
    """What is not healthy, by provider and model; of a provider that moved, the row that changed last."""
    found: dict[tuple[int, str], Row] = {}
    for name, row in sorted(rows.items(), key=lambda item: item[1].version):
        key = provider_and_model(name)
        if key is None:
            continue
        key = key[0], key[1][:MOST_MODEL_CHARACTERS]
        if row.phase in _STATES:
            found[key] = row
        else:
            found.pop(key, None)
    return found


def _changed(stretch: ProviderState, row: Row | None, now: datetime) -> int:
    if row is None:
        stretch.until = now
        stretch.save(update_fields=["until"])
        return 1
    if _STATES[row.phase] == stretch.state:
        if stretch.share_percent != _share(row):
            stretch.share_percent = _share(row)
            stretch.save(update_fields=["share_percent"])
        return 0
    stretch.until = max(stretch.since, _at(row.since_ms))
    stretch.save(update_fields=["until"])
    return 1 + _begun((stretch.provider_id, stretch.model), row, told_at=stretch.alerted_at or now)


def _begun(key: tuple[int, str], row: Row, told_at: datetime | None) -> int:
    stretch = ProviderState(
        provider_id=key[0],
        model=key[1],
        state=_STATES[row.phase],
        share_percent=_share(row),
        since=_at(row.since_ms),
        alerted_at=told_at,
    )
    ProviderState.objects.bulk_create([stretch], ignore_conflicts=True)
    return 1


def _share(row: Row) -> int:
    return SHARES_PERCENT[min(row.step, len(SHARES_PERCENT) - 1)] if row.phase == "ramp" else 0


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
