"""Runaways: what the brake noted, slowed, paused, and what became of it; and the newest calls of one."""

# ruff: noqa: S608 - names in the SQL are constants of this module, values are always bound

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from dashboards.queries.scope import Cursor

MOST_ROWS = 200
MOST_CALLS = 20
LOOK_BACK = timedelta(hours=2)  # before it was stopped: where its calls are looked for

_COLUMNS = (
    "b.id, b.tenant_id, t.name, b.kind, b.session_id, b.user_id, coalesce(k.name, ''), b.feature, b.model, b.trace_id, "
    "b.state, b.begun_at, b.changed_at, b.until, b.told, b.evidence, b.ended_at, b.ended_by, "
    "b.state = 'paused' AND b.until > %s"
)
_FROM = "FROM braked_session b JOIN tenants_tenant t ON t.id = b.tenant_id LEFT JOIN tenants_key k ON k.id = b.key_id "


@dataclass(frozen=True)
class BrakedRow:
    """An episode of one session."""

    id: str
    tenant_id: int
    tenant: str
    kind: str
    session: str
    user: str
    key: str
    feature: str
    model: str
    trace_id: str
    state: str
    begun_at: datetime
    changed_at: datetime
    until: datetime | None
    told: str
    evidence: dict[str, int]
    ended_at: datetime | None
    ended_by: str
    is_paused: bool

    @property
    def whom(self) -> str:
        if self.session:
            return self.session
        return f"a conversation of {self.user}" if self.user else f"a conversation of the key {self.key}"

    @property
    def cost_nanousd(self) -> int:
        return int(self.evidence.get("cost_nanousd", 0))

    @property
    def verdict(self) -> tuple[str, str]:
        """Shape and word of its state."""
        if self.is_paused:
            return "bad", "paused"
        if self.state == "paused":
            return "unknown", "ended by itself"
        return {"slowed": ("warn", "slowed"), "noted": ("warn", "noted")}.get(self.state, ("ok", "released"))

    @property
    def signs(self) -> list[tuple[str, str]]:
        """Each number of the evidence, with its name."""
        found = self.evidence
        kilo = [round(found.get(name, 0) / 1000, 1) for name in ("from_bytes", "to_bytes")]
        return [
            ("calls", str(found.get("calls", 0))),
            ("near-identical prompts", str(found.get("alike_calls", 0))),
            ("repeated tool calls", str(found.get("tool_calls", 0))),
            ("in a row with growing input", str(found.get("growth_calls", 0))),
            ("input, kB", f"{kilo[0]:g} → {kilo[1]:g}"),
            ("score", f"{found.get('score_permille', 0) / 1000:.2f}"),
        ]


@dataclass(frozen=True)
class CallRow:
    """A call of the session."""

    start: datetime
    trace_id: str
    status: str
    model: str
    input_tokens: int | None
    output_tokens: int | None
    cost_nanousd: int | None
    is_estimated: bool


def braked(cursor: Cursor, tenant_ids: Sequence[int], now: datetime) -> list[BrakedRow]:
    """What is paused now, then the newest of the others."""
    cursor.execute(
        f"SELECT {_COLUMNS} {_FROM} WHERE b.tenant_id = ANY(%s) "
        "ORDER BY (b.state = 'paused' AND b.until > %s) DESC, b.changed_at DESC, b.id LIMIT %s",
        [now, list(tenant_ids), now, MOST_ROWS],
    )
    return [BrakedRow(*row) for row in map(_read, cursor.fetchall())]


def one_braked(cursor: Cursor, pause_id: str, now: datetime) -> BrakedRow | None:
    """The episode of this id, whosever it is: who asks is the caller's matter."""
    cursor.execute(f"SELECT {_COLUMNS} {_FROM} WHERE b.id = %s", [now, pause_id])
    row = cursor.fetchone()
    return None if row is None else BrakedRow(*_read(row))


def calls_of(cursor: Cursor, row: BrakedRow) -> list[CallRow]:
    """Its newest calls up to a moment after it was stopped."""
    column, value = ("session_id", row.session) if row.session else ("user_id", row.user)
    cursor.execute(
        "SELECT start, encode(trace_id, 'hex'), status, coalesce(nullif(response_model, ''), request_model), "
        "input_tokens, output_tokens, cost_nanousd, is_estimated FROM span WHERE tenant_id = %s AND start >= %s "
        f"AND start <= %s AND source = 1 AND is_call AND {column} = %s "
        "ORDER BY start DESC LIMIT %s",
        [row.tenant_id, row.begun_at - LOOK_BACK, row.changed_at + LOOK_BACK, value, MOST_CALLS],
    )
    return [CallRow(*found) for found in cursor.fetchall()]


def _read(row: Sequence[Any]) -> list[Any]:
    """Django's cursor gives JSON as its text."""
    values = list(row)
    if isinstance(values[15], str):
        values[15] = msgspec.json.decode(values[15])
    return values
