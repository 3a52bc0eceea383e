"""A bill above what was held for it becomes an alert to the operators: a budget that blocks may have been passed.

Gateways write the rows (`providers.overruns`). A tier of service is told once: it is held for from then on. Resolved by
a person, or when the row is deleted.
"""

from datetime import datetime

from llmobs.alerts.kinds import CRITICAL, OVERRUN
from llmobs.alerts.raising import Connection, raise_alert, resolve_alert
from llmobs.core.money import exact_usd

# Two workers never take one; that it was told commits with the alert.
CLAIM = """
WITH taken AS (
    UPDATE providers_overrun o SET alerted_at = %s
    FROM (SELECT id FROM providers_overrun WHERE alerted_at IS NULL ORDER BY seen_at LIMIT 100
          FOR UPDATE SKIP LOCKED) w
    WHERE o.id = w.id
    RETURNING o.id, o.provider_id, o.model, o.tier, o.held_nanousd, o.cost_nanousd, o.trace_id, o.seen_at
)
SELECT taken.id, p.name, taken.model, taken.tier, taken.held_nanousd, taken.cost_nanousd, taken.trace_id, taken.seen_at
FROM taken JOIN providers_provider p ON p.id = taken.provider_id ORDER BY taken.seen_at
"""
ENDED = """
SELECT a.dedupe FROM alerts_alert a WHERE a.tenant_id IS NULL AND a.kind = 'bill_above_hold' AND a.state <> 'resolved'
    AND NOT EXISTS (SELECT 1 FROM providers_overrun o WHERE o.id::text = split_part(a.dedupe, '/', 1))
"""


def raise_overruns(conn: Connection, now: datetime) -> int:
    """An alert for each that nobody was told of yet, and the end of those that were deleted; how many were claimed."""
    found = conn.execute(CLAIM, [now]).fetchall()
    for row_id, provider, model, tier, held, paid, trace_id, seen_at in found:
        what = f"{provider}/{model}"[:200]
        why = f"answered at the tier {tier}, which is held for from now on" if tier else "cost more than was held"
        raise_alert(
            conn,
            None,
            OVERRUN,
            f"{row_id}/{seen_at:%Y-%m-%d}",
            CRITICAL,
            f"{what} {why}",
            {
                "kind": OVERRUN,
                "provider": provider,
                "model": model,
                "tier": tier or None,
                "held_usd": exact_usd(held),
                "cost_usd": None if paid is None else exact_usd(paid),
                "trace_id": bytes(trace_id).hex(),
                "at": seen_at.isoformat(),
            },
            seen_at,
            link="/providers/",
        )
    for (key,) in conn.execute(ENDED).fetchall():
        resolve_alert(conn, None, OVERRUN, key, now)
    return len(found)
