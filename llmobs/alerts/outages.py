"""A provider's model that a breaker has taken out becomes an alert to the operators, resolved when it is healthy again.

One for each outage: probes that fail within it (unhealthy, recovering, unhealthy …) are the same alert.
"""

from datetime import datetime
from urllib.parse import urlencode

from llmobs.alerts.kinds import CRITICAL, OUTAGE
from llmobs.alerts.raising import Connection, raise_alert, resolve_alert

# Two workers never take one; that it was told commits with the alert.
CLAIM = """
WITH taken AS (
    UPDATE provider_state s SET alerted_at = %s
    FROM (SELECT id FROM provider_state WHERE alerted_at IS NULL AND state = 'unhealthy'
          ORDER BY since LIMIT 100 FOR UPDATE SKIP LOCKED) w
    WHERE s.id = w.id
    RETURNING s.id, s.provider_id, s.model, s.since, s.until
)
SELECT taken.id, p.name, taken.model, taken.since, taken.until FROM taken JOIN providers_provider p
    ON p.id = taken.provider_id
ORDER BY taken.since
"""
ENDED = """
SELECT a.dedupe FROM alerts_alert a
WHERE a.tenant_id IS NULL AND a.kind = 'provider_unhealthy' AND a.state <> 'resolved' AND NOT EXISTS (
    SELECT 1 FROM provider_state s JOIN providers_provider p ON p.id = s.provider_id
    WHERE s.until IS NULL AND p.name = a.body->>'provider' AND s.model = a.body->>'model')
"""


RULE = """
SELECT id, severity, is_enabled FROM alerts_alertrule WHERE kind = 'provider_unhealthy' AND tenant_id IS NULL
ORDER BY is_enabled DESC, id LIMIT 1
"""


def raise_outages(conn: Connection, now: datetime) -> int:
    """One alert for each new outage, and the end of those that are over; returns how many were claimed."""
    found = conn.execute(CLAIM, [now]).fetchall()
    rule_id, severity, is_told = (found and conn.execute(RULE).fetchone()) or (None, CRITICAL, True)
    for state_id, provider, model, since, until in found if is_told else ():
        raise_alert(
            conn,
            None,
            OUTAGE.name,
            str(state_id),
            severity,
            f"{f'{provider}/{model}'[:200]} is unhealthy since {since:%H:%M:%S} UTC: calls go to the next candidate",
            {
                "kind": OUTAGE.name,
                "provider": provider,
                "model": model,
                "since": since.isoformat(),
                "until": until.isoformat() if until else None,
            },
            since,
            link=f"/providers/?{urlencode({'provider': provider, 'model': model})}",
            rule_id=rule_id,
        )
    for (key,) in conn.execute(ENDED).fetchall():
        resolve_alert(conn, None, OUTAGE.name, key, now)
    return len(found)
