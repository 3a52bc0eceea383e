"""Opens, renews and resolves alerts in the caller's transaction; each with its messages to the channels that hear it.

    raise_alert(conn, tenant_id, kind, key, severity, title, body, at, link="", is_once=True, rule_id=None) -> id | None
    resolve_alert(conn, tenant_id, kind, key, at, by="") -> id | None

1. `conn` is a connection or a cursor (psycopg's, or Django's). Nothing is sent here: rows of `alerts_delivery` commit
   with what made them, and the worker sends them (alerts/tasks.py). A caller that rolls back has told nobody.
2. `(tenant_id, kind, key)` opens one alert, however often and from how many workers it is raised: one atomic statement
   decides. `is_once`: never another one, also after it was resolved (a threshold in its window: the window stands in
   the key). Else another one may open once this one is resolved (a condition that ends and comes back).
3. Raised again while it is open: its figure is brought up to date, nobody is told again. A rule may remind (`remind`).
4. Resolving tells the channels that were told of the opening, and no others.

`tenant_id` None is the operators'. `body` is JSON, the same for every channel; money in it is a decimal string.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol

MOST_KEY_CHARACTERS = 200
MOST_TITLE_CHARACTERS = 300
MOST_LINK_CHARACTERS = 1000


class Connection(Protocol):
    """What statements run on: psycopg's connection or cursor, or Django's cursor; it answers with a cursor."""

    def execute(self, query: Any, params: Any = None, /) -> Any: ...


# `ended_id` is 0 while an alert keeps others of its key away, and its own id afterwards: so it is unique either way.
OPEN = """
INSERT INTO alerts_alert AS a (tenant_id, kind, dedupe, severity, title, body, link, is_once, rule_id, state, at,
    last_at, told_at, messages, ended_id, acknowledged_by, resolved_by)
VALUES (%s, %s, %s, %s, %s, %s::jsonb, %s, %s, %s, 'open', %s, %s, %s, 1, 0, '', '')
ON CONFLICT (tenant_id, kind, dedupe, ended_id) DO UPDATE
    SET last_at = greatest(a.last_at, EXCLUDED.last_at), title = EXCLUDED.title, body = EXCLUDED.body,
        severity = EXCLUDED.severity, link = EXCLUDED.link
    WHERE NOT a.is_once AND a.state <> 'resolved'
RETURNING a.id, a.xmax = 0
"""

# A channel hears its own tenant's alerts, an operators' one also those of the tenants that it names ("*": all).
TELL = """
INSERT INTO alerts_delivery (alert_id, channel_id, event, number, state, attempts, next_at, last_error, created_at)
SELECT a.id, c.id, %s, a.messages, 'waiting', 0, %s, '', %s
FROM alerts_alert a
LEFT JOIN tenants_tenant t ON t.id = a.tenant_id
JOIN alerts_channel c ON c.is_enabled AND (
    c.tenant_id IS NOT DISTINCT FROM a.tenant_id
    OR (c.tenant_id IS NULL AND (c.tenants @> '["*"]' OR c.tenants @> to_jsonb(t.slug::text))))
WHERE a.id = %s
  AND (c.kinds = '[]' OR c.kinds @> to_jsonb(a.kind::text))
  AND (c.severities = '[]' OR c.severities @> to_jsonb(a.severity::text))
  AND (NOT EXISTS (SELECT 1 FROM alerts_alertrule_channels r WHERE r.alertrule_id = a.rule_id)
       OR EXISTS (SELECT 1 FROM alerts_alertrule_channels r WHERE r.alertrule_id = a.rule_id AND r.channel_id = c.id))
ON CONFLICT DO NOTHING
"""

REMIND = """
UPDATE alerts_alert SET messages = messages + 1, told_at = %s
WHERE id = %s AND state = 'open' AND told_at <= %s RETURNING id
"""

RESOLVE = """
UPDATE alerts_alert
SET state = 'resolved', resolved_at = %s, resolved_by = %s, messages = messages + 1,
    ended_id = CASE WHEN is_once THEN 0 ELSE id END
WHERE {which} AND state <> 'resolved' RETURNING id
"""
BY_KEY = "tenant_id IS NOT DISTINCT FROM %s AND kind = %s AND dedupe = %s AND ended_id = 0"
BY_ID = "id = %s"

TELL_AGAIN = """
INSERT INTO alerts_delivery (alert_id, channel_id, event, number, state, attempts, next_at, last_error, created_at)
SELECT DISTINCT a.id, d.channel_id, 'resolved', a.messages, 'waiting', 0, %s::timestamptz, '', %s::timestamptz
FROM alerts_alert a JOIN alerts_delivery d ON d.alert_id = a.id JOIN alerts_channel c ON c.id = d.channel_id
WHERE a.id = %s AND c.is_enabled
ON CONFLICT DO NOTHING
"""

ACKNOWLEDGE = """
UPDATE alerts_alert SET state = 'acknowledged', acknowledged_at = %s, acknowledged_by = %s
WHERE id = %s AND state = 'open' RETURNING id
"""


def raise_alert(
    conn: Connection,
    tenant_id: int | None,
    kind: str,
    key: str,
    severity: str,
    title: str,
    body: Mapping[str, Any],
    at: datetime,
    link: str = "",
    is_once: bool = True,
    rule_id: int | None = None,
) -> int | None:
    """Open an alert with its deliveries, once per key; its id if it is new, None if it was known."""
    text = json.dumps(dict(body), ensure_ascii=False).replace("\\u0000", "")
    values = [
        tenant_id, kind, short_key(key), severity, _line(title, MOST_TITLE_CHARACTERS), text,
        link[:MOST_LINK_CHARACTERS], is_once, rule_id, at, at, at,
    ]  # fmt: skip
    row = conn.execute(OPEN, values).fetchone()
    if row is None or not row[1]:
        return None
    conn.execute(TELL, ["opened", at, at, row[0]])
    return int(row[0])


def remind(conn: Connection, alert_id: int, at: datetime, told_before: datetime) -> bool:
    """Tell of an open alert once more, unless that was done after `told_before` or somebody has acknowledged it."""
    if conn.execute(REMIND, [at, alert_id, told_before]).fetchone() is None:
        return False
    conn.execute(TELL, ["reminded", at, at, alert_id])
    return True


def resolve_alert(
    conn: Connection, tenant_id: int | None, kind: str, key: str, at: datetime, by: str = ""
) -> int | None:
    """The condition has ended: resolve its alert, if one is open, and tell so; its id, or None."""
    return _resolved(conn, RESOLVE.format(which=BY_KEY), [at, by, tenant_id, kind, short_key(key)], at)


def resolve(conn: Connection, alert_id: int, at: datetime, by: str) -> bool:
    """Resolve this alert by hand; whether it was open or acknowledged."""
    return _resolved(conn, RESOLVE.format(which=BY_ID), [at, by, alert_id], at) is not None


def acknowledge(conn: Connection, alert_id: int, at: datetime, by: str) -> bool:
    """Somebody has seen it: no reminders from now on; whether it was open."""
    return conn.execute(ACKNOWLEDGE, [at, by[:200], alert_id]).fetchone() is not None


def short_key(key: str) -> str:
    """A key as it is kept. A caller's own id in it may be longer: what is cut off is told apart by its hash."""
    key = key.replace("\x00", "")
    if len(key) <= MOST_KEY_CHARACTERS:
        return key
    return f"{key[: MOST_KEY_CHARACTERS - 65]}#{sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _resolved(conn: Connection, statement: str, parameters: list[Any], at: datetime) -> int | None:
    parameters[1] = parameters[1][:200]
    row = conn.execute(statement, parameters).fetchone()
    if row is None:
        return None
    conn.execute(TELL_AGAIN, [at, at, row[0]])
    return int(row[0])


def _line(text: str, most: int) -> str:
    """One line of bounded length: names and ids of callers are in titles."""
    line = " ".join(text.replace("\x00", "").split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
