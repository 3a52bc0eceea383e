"""Reconciles a month of an account, and keeps what came of it: sums, cells, named parts.

 1. Which days have a report of costs: these are compared, with usage where that was had too. Other days are named as
    missing, and our bills of them are in none of the sums.
 2. Both sides are read; models are brought under common names, classes that the provider does not tell apart folded.
 3. The cells are kept as they are, then `naming` splits each difference, and the parts are kept.
Replaces what was kept of the month, in one transaction.
"""

from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from llmobs.reconcile import rows
from llmobs.reconcile.amounts import RESIDUAL, Books, Group, Key, Part, exact, total
from llmobs.reconcile.ledger import Bills, fill, read_bills, window_of
from llmobs.reconcile.names import common_names
from llmobs.reconcile.naming import name_differences

Connection = psycopg.Connection[Any]

# Classes that a provider may count as another: ours are folded into it unless its report has them for the model.
_FOLDS = {
    rows.IMAGE_INPUT: rows.UNCACHED,
    "image_cache_read": rows.CACHE_READ,
    rows.IMAGE_OUTPUT: rows.OUTPUT,
    "video_input": rows.UNCACHED,
    "video_cache_read": rows.CACHE_READ,
    "video_output": rows.OUTPUT,
    rows.AUDIO_CACHE_READ: rows.CACHE_READ,
}


@dataclass(frozen=True)
class AccountInfo:
    """What of an account matters here."""

    id: int
    providers: tuple[str, ...]
    keys: Mapping[str, str]
    aliases: Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    """A month, reconciled; amounts in nano-USD. `theirs − ours` is the sum of the parts."""

    first_day: date
    compared_days: int
    missing: Mapping[str, list[str]]
    theirs: Decimal
    ours: int
    parts: list[Part]
    tenant_ids: list[int]

    @property
    def residual(self) -> Decimal:
        return total(part for part in self.parts if part.name == RESIDUAL)


def reconcile_month(conn: Connection, account_id: int, first_day: date, now: datetime) -> Outcome:
    """Compare, name and keep. Commits nothing itself."""
    conn.execute(
        "SELECT 1 FROM reconcile_month WHERE account_id = %s AND first_day = %s FOR UPDATE", (account_id, first_day)
    )
    account = read_account(conn, account_id)
    covered = _covered(conn, account_id, first_day)
    days = frozenset(covered[rows.COST])
    missing = _missing(covered, first_day, now.date())
    theirs = _their_rows(conn, account_id, first_day)
    after = first_day + timedelta(days=monthrange(first_day.year, first_day.month)[1])
    bills = read_bills(conn, account.providers, *window_of(first_day, after))
    books = _books(account, theirs, bills, days, days & frozenset(covered[rows.USAGE]))
    cells = _cells(books)
    ours = sum(each.cost_nanousd for each in bills.sums if each.kind.day in days)
    calls = sum(each.calls for each in bills.sums if each.kind.day in days)
    billed = sum((there.amount for key, there in books.theirs.items() if key.day in days), Decimal(0))
    parts = name_differences(books, account.keys)
    outcome = Outcome(first_day, len(days), missing, billed, ours, parts, bills.tenant_ids)
    _keep(conn, account_id, outcome, cells, calls, now)
    return outcome


def read_account(conn: Connection, account_id: int) -> AccountInfo:
    """The account; one that names no providers draws for the one of its own name."""
    row = conn.execute(
        "SELECT name, providers, keys, aliases FROM reconcile_account WHERE id = %s", (account_id,)
    ).fetchone()
    if row is None:
        raise LookupError(f"there is no account {account_id}")
    name, providers, keys, aliases = row
    return AccountInfo(account_id, tuple(providers) or (name,), keys, aliases)


def _covered(conn: Connection, account_id: int, first_day: date) -> dict[str, set[date]]:
    found: dict[str, set[date]] = {rows.COST: set(), rows.USAGE: set()}
    for kind, day in conn.execute(
        "SELECT kind, day FROM reconcile_reportday WHERE account_id = %s AND is_current "
        "AND day >= %s AND day < %s + interval '1 month'",
        (account_id, first_day, first_day),
    ):
        found[kind].add(day)
    return found


def _missing(covered: Mapping[str, set[date]], first_day: date, today: date) -> dict[str, list[str]]:
    """Days that are over and of which a kind of report was not had."""
    count = monthrange(first_day.year, first_day.month)[1]
    over = [day for day in (first_day + timedelta(days=n) for n in range(count)) if day < today]
    return {kind: [day.isoformat() for day in over if day not in had] for kind, had in covered.items()}


def _their_rows(conn: Connection, account_id: int, first_day: date) -> list[tuple[Any, ...]]:
    return conn.execute(
        "SELECT d.kind, r.day, r.model, r.key, r.tier, r.token_class, sum(r.quantity)::bigint, sum(r.amount_nanousd), "
        "count(*), max(p.amount_step), r.line_item "
        "FROM reconcile_reportday d JOIN reconcile_report p ON p.id = d.report_id "
        "JOIN reconcile_reportrow r ON r.report_id = d.report_id AND r.day = d.day "
        "WHERE d.account_id = %s AND d.is_current AND d.day >= %s AND d.day < %s + interval '1 month' "
        "GROUP BY 1, 2, 3, 4, 5, 6, 11 ORDER BY 1, 2, 3, 4, 5, 6, 11",
        (account_id, first_day, first_day),
    ).fetchall()


def _books(
    account: AccountInfo, theirs: list[tuple[Any, ...]], bills: Bills, days: frozenset[date], used: frozenset[date]
) -> Books:
    """Both sides of the days; `used`: those that have a report of usage."""
    books = Books(days=days, with_usage=used)
    their_models = {row[2] for row in theirs if row[5] not in (rows.OTHER, *rows.TOOLS)}
    names = common_names(their_models, {each.kind.model for each in bills.sums}, account.aliases)
    told = {(names.get(row[2], row[2]), row[5]) for row in theirs}
    for kind, day, model, key, tier, token_class, quantity, amount, lines, step, line in theirs:
        is_tool = token_class in rows.TOOLS
        common = line if token_class == rows.OTHER else "" if is_tool else names[model]
        tier = "" if is_tool else tier
        if kind == rows.USAGE and token_class == rows.REQUESTS:
            _count_calls(books, Group(day, common, tier), key, quantity)
        elif kind == rows.USAGE:
            there = books.theirs[Key(day, common, tier, token_class)]
            there.quantity += quantity
            if key:
                there.by_key[key] = there.by_key.get(key, 0) + quantity
        else:
            there = books.theirs[Key(day, common, tier, token_class)]
            there.amount += amount
            there.lines += lines
            there.step = max(there.step, step)
            if day not in used:
                there.quantity += quantity or 0
    folded = {
        (names[each.kind.model], token_class): target
        for each in bills.sums
        for token_class, target in _FOLDS.items()
        if (names[each.kind.model], token_class) not in told
    }
    fill(books, bills, names, folded)
    return books


def _count_calls(books: Books, group: Group, key: str, calls: int) -> None:
    books.their_calls[group] = books.their_calls.get(group, 0) + calls
    by_key = books.their_calls_by_key.setdefault(group, {})
    by_key[key] = by_key.get(key, 0) + calls


def _cells(books: Books) -> list[tuple[Any, ...]]:
    found = []
    for key in books.cells():
        there, here = books.theirs.get(key), books.ours.get(key)
        quantity = there.quantity if there is not None and (key.day in books.with_usage or there.quantity) else None
        if there is None and key.day in books.with_usage:
            quantity = 0
        amount = there.amount if there is not None else Decimal(0)
        cost = exact(here.cost) if here is not None else Decimal(0)
        found.append((*key, quantity, here.quantity if here is not None else 0, amount, cost))
    return found


def _keep(
    conn: Connection, account_id: int, outcome: Outcome, cells: list[tuple[Any, ...]], calls: int, now: datetime
) -> None:
    row = conn.execute(
        "INSERT INTO reconcile_month (account_id, first_day, is_due, computed_at, tenant_ids, compared_days, missing, "
        "theirs_nanousd, ours_nanousd, residual_nanousd, calls) "
        "VALUES (%s, %s, false, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (account_id, first_day) DO UPDATE SET "
        "is_due = false, computed_at = excluded.computed_at, tenant_ids = excluded.tenant_ids, "
        "compared_days = excluded.compared_days, missing = excluded.missing, theirs_nanousd = excluded.theirs_nanousd, "
        "ours_nanousd = excluded.ours_nanousd, residual_nanousd = excluded.residual_nanousd, calls = excluded.calls "
        "RETURNING id",
        (
            account_id, outcome.first_day, now, Jsonb(outcome.tenant_ids), outcome.compared_days,
            Jsonb(outcome.missing), outcome.theirs, outcome.ours, outcome.residual, calls,
        ),
    ).fetchone()  # fmt: skip
    assert row is not None, "an INSERT returns its row"
    (month_id,) = row
    for table in ("reconcile_cell", "reconcile_part"):
        conn.execute(f"DELETE FROM {table} WHERE month_id = %s", (month_id,))  # noqa: S608
    _insert(
        conn, month_id, "reconcile_cell",
        {"day": "date", "model": "text", "tier": "text", "token_class": "text", "their_quantity": "bigint",
         "our_quantity": "bigint", "theirs_nanousd": "numeric", "ours_nanousd": "numeric"},
        cells,
    )  # fmt: skip
    _insert(
        conn, month_id, "reconcile_part",
        {"day": "date", "model": "text", "tier": "text", "token_class": "text", "name": "text",
         "amount_nanousd": "numeric", "quantity": "bigint", "calls": "bigint", "detail": "jsonb"},
        [(*part.key, part.name, part.amount, part.quantity, part.calls, Jsonb(part.detail)) for part in outcome.parts],
    )  # fmt: skip


def _insert(
    conn: Connection, month_id: int, table: str, columns: Mapping[str, str], found: list[tuple[Any, ...]]
) -> None:
    if not found:
        return
    arrays = ", ".join(f"%s::{kind}[]" for kind in columns.values())
    conn.execute(
        f"INSERT INTO {table} (month_id, {', '.join(columns)}) SELECT %s, * FROM unnest({arrays})",  # noqa: S608
        (month_id, *(list(column) for column in zip(*found, strict=True))),
    )
