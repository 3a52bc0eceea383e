"""What people do about a paused session: release it, or keep it paused. Each with its entry in the audit trail."""

from datetime import datetime, timedelta

import redis
from django.db import transaction

from llmobs.brake import board
from llmobs.brake.models import BrakedSession
from llmobs.tenants import audit

KEEPS = timedelta(days=30)


class NotPaused(Exception):
    """There is nothing to release: it ended already, or was never paused."""


def release(session: BrakedSession, actor: str, now: datetime, valkey: "redis.Redis") -> int:
    """Release every pause of the session; gateways let its calls pass within a second or two. How many they were.

    Raises NotPaused. The row decides; what Valkey holds is taken away too, and where it is away a gateway that knows
    the release does not heed it.
    """
    with transaction.atomic():
        pauses = _pauses(session, now)
        for pause in pauses:
            pause.state, pause.ended_at, pause.ended_by = BrakedSession.State.RELEASED, now, actor[:200]
            audit.save(pause, actor, "release")
    try:
        valkey.delete(board.key(session.tenant_id, session.mark))
    except redis.RedisError:
        pass
    return len(pauses)


def keep(session: BrakedSession, actor: str, now: datetime) -> datetime:
    """Keep it paused for `KEEPS`, looked at and found to be a runaway; until when. Raises NotPaused."""
    with transaction.atomic():
        for pause in _pauses(session, now):
            pause.until, pause.ended_by = now + KEEPS, actor[:200]
            audit.save(pause, actor, "keep paused")
    return now + KEEPS


def _pauses(session: BrakedSession, now: datetime) -> list[BrakedSession]:
    """The pauses that last, of all gateways. Two people never end one at the same time."""
    found = BrakedSession.objects.select_for_update(of=("self",)).filter(
        tenant_id=session.tenant_id, mark=session.mark, state=BrakedSession.State.PAUSED, until__gt=now
    )
    pauses = list(found)
    if not pauses:
        raise NotPaused("the session is not paused")
    return pauses
