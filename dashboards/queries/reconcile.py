"""Providers' bills against ours: accounts, what a month came to, its named differences, and the cells behind them.

Operators see every account, others those that are their tenant's alone, as long as no one else's bills are in them.
"""

# ruff: noqa: S608 - names in the SQL are constants of this module, values are always bound

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from dashboards.queries.scope import Cursor

RESIDUAL = "residual"
# In the order in which they are told. Each name of `reconcile.amounts` has its words here.
PART_WORDS: dict[str, tuple[str, str]] = {
    "outside": ("Traffic outside the gateway", "usage at the provider that no bill of ours has"),
    "not_mapped": ("Key not mapped", "our own traffic, under a key that the account does not name"),
    "price": ("Price differs", "the same tokens at another rate"),
    "tokens": ("Tokens differ", "one side counts more for the same calls"),
    "time_zone": ("Time zone", "calls near midnight are on the neighbouring day there"),
    "class": ("Counted in another class", "the same tokens under another price"),
    "tier": ("Another tier of service", "batch, priority or flex on one side alone"),
    "unpriced": ("No price of ours", "our bills have the tokens, and no price for them"),
    "no_usage": ("No usage", "credits, taxes, storage, sessions"),
    "rounding": ("Rounding", "of the provider's lines, and of our bills to the nano-USD"),
    RESIDUAL: ("Not explained", "no name fits"),
}
MOST_CELLS = 200


@dataclass(frozen=True)
class AccountRow:
    """An account, and how its reports are had."""

    id: int
    name: str
    kind: str
    providers: tuple[str, ...]
    has_key: bool
    is_enabled: bool
    fetched_at: datetime | None
    fetch_error: str
    reported_at: datetime | None  # when its newest report came


@dataclass(frozen=True)
class MonthRow:
    """What a month came to. Amounts in nano-USD."""

    id: int
    account_id: int
    first_day: date
    is_due: bool
    computed_at: datetime | None
    compared_days: int
    missing: Mapping[str, list[str]]
    theirs: Decimal
    ours: int
    residual: Decimal
    calls: int

    @property
    def difference(self) -> Decimal:
        return self.theirs - self.ours


@dataclass(frozen=True)
class PartSum:
    """All parts of one name: their sum, on how many days and models, how many tokens and calls."""

    name: str
    amount: Decimal
    days: int
    models: tuple[str, ...]
    tokens: int
    calls: int


@dataclass(frozen=True)
class PartRow:
    """One part, with what both sides say of its cell."""

    id: int
    day: date
    model: str
    tier: str
    token_class: str
    name: str
    amount: Decimal
    tokens: int
    calls: int
    detail: Mapping[str, Any]
    their_tokens: int | None
    our_tokens: int | None
    theirs: Decimal | None
    ours: Decimal | None


def accounts(cursor: Cursor, tenant_ids: Sequence[int] | None) -> list[AccountRow]:
    """Those that may be seen, by name; `tenant_ids` None: all."""
    where, parameters = _seen(tenant_ids)
    cursor.execute(
        "SELECT a.id, a.name, a.kind, a.providers, a.credential <> '', a.is_enabled, a.fetched_at, a.fetch_error, "
        "(SELECT max(r.fetched_at) FROM reconcile_report r WHERE r.account_id = a.id) "
        f"FROM reconcile_account a WHERE {where} ORDER BY a.name",
        parameters,
    )
    return [
        AccountRow(number, name, kind, tuple(_json(providers) or [name]), *rest)
        for number, name, kind, providers, *rest in cursor.fetchall()
    ]


def months(cursor: Cursor, tenant_ids: Sequence[int] | None) -> list[date]:
    """The first days of all months that there is something of, newest first."""
    where, parameters = _seen(tenant_ids)
    cursor.execute(
        "SELECT DISTINCT m.first_day FROM reconcile_month m JOIN reconcile_account a ON a.id = m.account_id "
        f"WHERE {where} ORDER BY 1 DESC",
        parameters,
    )
    return [row[0] for row in cursor.fetchall()]


def month(cursor: Cursor, tenant_ids: Sequence[int] | None, first_day: date) -> dict[int, MonthRow]:
    """By account what the month came to; one that holds other tenants' bills is operators' alone."""
    where, parameters = _seen(tenant_ids)
    if tenant_ids is not None:
        where += " AND m.tenant_ids <@ jsonb_build_array(a.tenant_id)"
    cursor.execute(
        "SELECT m.id, m.account_id, m.first_day, m.is_due, m.computed_at, m.compared_days, m.missing, "
        "m.theirs_nanousd, m.ours_nanousd, m.residual_nanousd, m.calls FROM reconcile_month m "
        f"JOIN reconcile_account a ON a.id = m.account_id WHERE {where} AND m.first_day = %s ORDER BY a.name",
        [*parameters, first_day],
    )
    return {row[1]: MonthRow(*[*row[:6], _json(row[6]), *row[7:]]) for row in cursor.fetchall()}


def part_sums(cursor: Cursor, month_id: int) -> list[PartSum]:
    """Each name's sum, in the order of PART_WORDS."""
    cursor.execute(
        "SELECT name, sum(amount_nanousd), count(DISTINCT day), array_agg(DISTINCT model) FILTER (WHERE model <> ''), "
        # What is moved is told on both sides: once is enough.
        "COALESCE(sum(quantity) FILTER (WHERE quantity > 0 OR name = 'tokens'), 0)::bigint, sum(calls)::bigint "
        "FROM reconcile_part WHERE month_id = %s GROUP BY name",
        [month_id],
    )
    found = {row[0]: PartSum(*[*row[:3], tuple(row[3] or ()), *row[4:]]) for row in cursor.fetchall()}
    return [found[name] for name in PART_WORDS if name in found]


def parts(cursor: Cursor, month_id: int, name: str = "", after_id: int = 0, most: int = MOST_CELLS) -> list[PartRow]:
    """Parts of a month (of one name), by day, model and class, with both sides of their cells."""
    cursor.execute(
        "SELECT p.id, p.day, p.model, p.tier, p.token_class, p.name, p.amount_nanousd, p.quantity, p.calls, p.detail, "
        "c.their_quantity, c.our_quantity, c.theirs_nanousd, c.ours_nanousd FROM reconcile_part p "
        "LEFT JOIN reconcile_cell c USING (month_id, day, model, tier, token_class) "
        "WHERE p.month_id = %s AND (%s = '' OR p.name = %s) AND p.id > %s ORDER BY p.id LIMIT %s",
        [month_id, name, name, after_id, most],
    )
    return [PartRow(*[*row[:9], _json(row[9]), *row[10:]]) for row in cursor.fetchall()]


def _seen(tenant_ids: Sequence[int] | None) -> tuple[str, list[Any]]:
    return ("true", []) if tenant_ids is None else ("a.tenant_id = ANY(%s)", [list(tenant_ids)])


def _json(value: Any) -> Any:
    """Django's cursor leaves jsonb as text."""
    return json.loads(value) if isinstance(value, str) else value
