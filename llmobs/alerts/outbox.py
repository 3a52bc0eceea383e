"""The outbox: which deliveries are due, who is at them, and what became of each.

1. A claim is one statement: of each channel that nobody is at, the delivery that is due longest. It moves the next try
   ahead and marks the channel busy, before anything is sent: a worker that is killed leaves both to pass, and the
   message goes out again under the same id (at least once).
2. One delivery at a time for a channel, several channels at once: a slow one holds up itself alone.
3. What failed is tried again after growing pauses, then given up; a person may have it tried again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from llmobs.alerts.raising import Connection

MOST_ATTEMPTS = 8
FIRST_PAUSE = timedelta(seconds=15)  # doubled each time: the last try comes about half an hour after the first
LEASE = timedelta(seconds=30)  # longer than any try lasts (delivery.TIMEOUT_SECONDS)

CLAIM = """
WITH due AS (
    SELECT DISTINCT ON (d.channel_id) d.id, d.channel_id
    FROM alerts_delivery d JOIN alerts_channel c ON c.id = d.channel_id
    WHERE d.state = 'waiting' AND d.next_at <= %(now)s AND (c.busy_until IS NULL OR c.busy_until <= %(now)s)
      AND (%(channel)s::bigint IS NULL OR c.id = %(channel)s)
    ORDER BY d.channel_id, d.next_at, d.id
), chosen AS (
    SELECT due.id, due.channel_id FROM due JOIN alerts_delivery d ON d.id = due.id ORDER BY d.next_at LIMIT %(most)s
), taken AS (
    UPDATE alerts_channel c SET busy_until = %(now)s + %(lease)s FROM chosen
    WHERE c.id = chosen.channel_id AND (c.busy_until IS NULL OR c.busy_until <= %(now)s)
    RETURNING c.id AS channel_id, c.url, c.signing_secret,
        CASE WHEN c.previous_until > %(now)s THEN c.previous_secret ELSE '' END AS previous_secret
), claimed AS (
    UPDATE alerts_delivery d
    SET attempts = d.attempts + 1, next_at = %(now)s + %(pause)s * power(2, d.attempts)
    FROM chosen JOIN taken USING (channel_id)
    WHERE d.id = chosen.id AND d.state = 'waiting'
    RETURNING d.id, d.attempts, d.event, d.number, d.alert_id, d.channel_id
)
SELECT claimed.id, claimed.channel_id, claimed.attempts, claimed.event, claimed.number, taken.url,
    taken.signing_secret, taken.previous_secret, a.id, a.title, a.body, a.kind, a.severity, a.state, a.link, a.at,
    a.resolved_at, a.resolved_by, a.acknowledged_by
FROM claimed JOIN taken USING (channel_id) JOIN alerts_alert a ON a.id = claimed.alert_id
ORDER BY claimed.id
"""
SENT = "UPDATE alerts_delivery SET state = 'sent', sent_at = %s, last_error = '' WHERE id = %s"
FAILED = """
UPDATE alerts_delivery SET last_error = %s, state = CASE WHEN attempts >= %s THEN 'given_up' ELSE state END
WHERE id = %s AND state = 'waiting'
"""
FREE = "UPDATE alerts_channel SET busy_until = NULL WHERE id = %s"
TRY_AGAIN = """
UPDATE alerts_delivery SET state = 'waiting', attempts = 0, next_at = %s WHERE id = %s AND state = 'given_up'
RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this worker is at. Addresses and secrets are sealed still."""

    id: int
    channel_id: int
    attempts: int
    event: str
    number: int
    url: str = field(repr=False)
    signing_secret: str = field(repr=False)
    previous_secret: str = field(repr=False)
    alert_id: int
    title: str
    body: dict[str, Any]
    kind: str
    severity: str
    state: str
    link: str
    at: datetime
    resolved_at: datetime | None
    resolved_by: str
    acknowledged_by: str

    @property
    def message_id(self) -> str:
        """The same at every try: what a receiver tells repetitions by."""
        return f"delivery-{self.id}"


def claim(conn: Connection, now: datetime, most: int, channel_id: int | None = None) -> list[Claimed]:
    """Take up to `most` deliveries that are due, one for each channel."""
    values = {"now": now, "most": most, "lease": LEASE, "pause": FIRST_PAUSE, "channel": channel_id}
    return [Claimed(*row) for row in conn.execute(CLAIM, values).fetchall()]


def finish(conn: Connection, claimed: Claimed, now: datetime, error: str = "") -> None:
    """What became of it, and the channel is free for the next."""
    if error:
        conn.execute(FAILED, [error[:500], MOST_ATTEMPTS, claimed.id])
    else:
        conn.execute(SENT, [now, claimed.id])
    conn.execute(FREE, [claimed.channel_id])


def try_again(conn: Connection, delivery_id: int, now: datetime) -> bool:
    """Have one that was given up tried anew; whether it was."""
    return conn.execute(TRY_AGAIN, [now, delivery_id]).fetchone() is not None


def content(claimed: Claimed, base_url: str) -> tuple[str, dict[str, Any]]:
    """Title and body of a message: what happened is told first in both."""
    words = {"resolved": "Resolved: ", "reminded": "Still: "}.get(claimed.event, "")
    body = {
        "type": f"alert.{claimed.event}",
        "severity": claimed.severity,
        "state": "resolved" if claimed.event == "resolved" else "open",
        **claimed.body,
        "alert_id": claimed.alert_id,
        "opened_at": claimed.at.isoformat(),
    }
    if claimed.event == "resolved" and claimed.resolved_at is not None:
        body |= {"resolved_at": claimed.resolved_at.isoformat(), "resolved_by": claimed.resolved_by or None}
    if claimed.link and base_url:
        body["link"] = f"{base_url}{claimed.link}"
    return f"{words}{claimed.title}", body


def secrets_of(claimed: Claimed) -> Sequence[str]:
    """The sealed signing secrets that hold now, the newest first."""
    return [each for each in (claimed.signing_secret, claimed.previous_secret) if each]
