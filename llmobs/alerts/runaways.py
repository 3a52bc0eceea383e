"""What the runaway brake noted, slowed or paused becomes an alert with its release link; a release resolves it.

The writer commits the rows (`brake.events`). An episode that goes on from slowed to paused is told of twice: the second
time people have to act.
"""

from datetime import datetime
from typing import Any

from llmobs.alerts.kinds import CRITICAL, RUNAWAY, WARNING
from llmobs.alerts.raising import Connection, raise_alert, resolve_alert
from llmobs.brake.link import token
from llmobs.core.money import exact_usd

MOST_NAME_CHARACTERS = 80
SEVERITIES = {"noted": WARNING, "slowed": WARNING, "paused": CRITICAL}
DONE = {"noted": "runs away (nothing is stopped)", "slowed": "runs away and is slowed down", "paused": "is paused"}

# Two workers never take one; that it was told commits with the alert.
CLAIM = """
UPDATE braked_session b SET alerted_at = %s
FROM (SELECT id FROM braked_session WHERE alerted_at IS NULL ORDER BY changed_at LIMIT 100 FOR UPDATE SKIP LOCKED) w
WHERE b.id = w.id
RETURNING b.id, b.tenant_id, b.kind, b.session_id, b.user_id, b.feature, b.model, b.state, b.changed_at, b.until,
    b.told, b.evidence
"""
ENDED = """
SELECT a.tenant_id, a.dedupe, b.ended_by FROM alerts_alert a
JOIN braked_session b ON b.tenant_id = a.tenant_id AND b.id = split_part(a.dedupe, '/', 1)
WHERE a.kind = 'runaway' AND a.state <> 'resolved'
    AND (b.state = 'released' OR (b.until IS NULL AND b.changed_at < %s - interval '1 hour') OR b.until < %s)
"""


def raise_runaways(conn: Connection, now: datetime, platform_secret: str) -> int:
    """An alert for each new state of an episode, and the end of those that are over; returns how many were claimed."""
    found = conn.execute(CLAIM, [now]).fetchall()
    for row in found:
        _raise(conn, row, platform_secret)
    for tenant_id, key, ended_by in conn.execute(ENDED, [now, now]).fetchall():
        resolve_alert(conn, tenant_id, RUNAWAY, key, now, ended_by)
    return len(found)


def _raise(conn: Connection, row: tuple[Any, ...], platform_secret: str) -> None:
    pause, tenant_id, kind, session, user, feature, model, state, at, until, told, evidence = row
    if state not in SEVERITIES:
        return
    whom = f"Session {_short(session)}" if session else f"A conversation of {_short(user) or 'a key'}"
    raise_alert(
        conn,
        tenant_id,
        RUNAWAY,
        f"{pause}/{state}",
        SEVERITIES[state],
        f"{whom} {DONE[state]}: {told}",
        {
            "kind": RUNAWAY,
            "state": state,
            "of": kind,
            "session": session or None,
            "user": user or None,
            "feature": feature or None,
            "model": model,
            "seen": told,
            "calls": evidence.get("calls"),
            "alike_calls": evidence.get("alike_calls"),
            "cost_usd": exact_usd(int(evidence.get("cost_nanousd", 0))),
            "at": at.isoformat(),
            "until": until.isoformat() if until else None,
        },
        at,
        link=f"/brake/{token(pause, platform_secret)}/",
    )


def _short(name: str) -> str:
    return name if len(name) <= MOST_NAME_CHARACTERS else f"{name[: MOST_NAME_CHARACTERS - 1]}…"
