"""Bills above what was held for them, as the gateways write them down: budgets' promise depends on there being none.

Where a tier of service is the cause, the row is also what is learned: later calls of that provider are held at it.
"""

from typing import Any

import msgspec
import psycopg

MOST_MODEL_CHARACTERS = 200
MOST_TIER_CHARACTERS = 40


class Overrun(msgspec.Struct, frozen=True):
    """One bill above its hold, or one answer at a tier that costs more than the one that was held for."""

    provider_id: int
    model: str
    tier: str  # that answered; "": the usual one, so something else was not foreseen
    held_nanousd: int
    cost_nanousd: int | None  # of the answer, which may be below the hold all the same
    trace_id: bytes


# What goes on for more than a day without a tier to learn is told again.
_WRITE = """
INSERT INTO providers_overrun AS o (provider_id, model, tier, held_nanousd, cost_nanousd, trace_id, seen_at)
SELECT %s, %s, %s, %s, %s, %s, now() WHERE EXISTS (SELECT 1 FROM providers_provider WHERE id = %s)
ON CONFLICT (provider_id, model, tier) DO UPDATE SET
    held_nanousd = excluded.held_nanousd, cost_nanousd = excluded.cost_nanousd, trace_id = excluded.trace_id,
    seen_at = excluded.seen_at,
    alerted_at = CASE WHEN o.alerted_at < now() - interval '1 day' THEN NULL ELSE o.alerted_at END
"""


def write(conn: psycopg.Connection[Any], found: Overrun) -> None:
    """Keep it; of each provider, model and tier the last one."""
    model, tier = found.model[:MOST_MODEL_CHARACTERS], found.tier[:MOST_TIER_CHARACTERS]
    row = (found.provider_id, model, tier, found.held_nanousd, found.cost_nanousd, found.trace_id, found.provider_id)
    conn.execute(_WRITE, row)


def seen_tiers(conn: psycopg.Connection[Any]) -> dict[int, tuple[str, ...]]:
    """The tiers that each provider gave to requests that were not held for them."""
    rows = conn.execute(
        "SELECT provider_id, array_agg(DISTINCT tier ORDER BY tier) FROM providers_overrun WHERE tier <> '' GROUP BY 1"
    )
    return {provider_id: tuple(tiers) for provider_id, tiers in rows.fetchall()}
