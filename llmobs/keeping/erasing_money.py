"""A person's name out of bills, users' days and budgets' spend, in one transaction: every sum is what it was.

What becomes of a budget's value is learnt from the bills themselves, by the function that counts them: the value that
they are counted in as they are, and as they will be. Rows that come to bear the same name are added up.
"""

# ruff: noqa: S608 -- table and column names are constants, values are bound

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from msgspec.structs import replace

from llmobs.budgets.definition import Budgets, load
from llmobs.budgets.spend import BUDGETS_LOCK
from llmobs.core.clock import ns_from_utc
from llmobs.core.ids import new_row_id
from llmobs.ingest.commit import lock_tenants
from llmobs.keeping.archive import day_bounds
from llmobs.keeping.erasing_spans import Trail
from llmobs.keeping.person import Person
from llmobs.rollups.bills import rename_user
from llmobs.spans.partitions import existing_days
from llmobs.tenants.attribution import Attribution

CLOCKS_DIFFER = 60_000 << 22  # of row ids: a minute, by which another host's clock may be behind

Connection = psycopg.Connection[Any]
Found = dict[str, int]
Values = dict[tuple[int, str], str]  # what becomes of a budget's value

USERS_DAY = ("calls", "errors", "input_tokens", "output_tokens", "cost_nanousd", "unpriced_calls")


@dataclass(frozen=True, slots=True)
class Billed:
    """A bill, as far as budgets look at it."""

    bill_id: int
    begin_at: datetime
    attribution: Attribution
    model: str
    provider_name: str
    prompt_version: str


def rename_money(conn: Connection, person: Person, trail: Trail) -> Found:
    """All of it; how much of each. `conn` is in autocommit."""
    mark = new_row_id() - CLOCKS_DIFFER
    bills: dict[int, Billed] = {}
    for day in sorted(existing_days(conn, "bill")):
        bills |= {bill.bill_id: bill for bill in _bills(conn, person, trail, day)}
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock_shared(%s)", (BUDGETS_LOCK,))
        lock_tenants(conn, [person.tenant_id])
        bills |= {bill.bill_id: bill for bill in _bills_since(conn, person, trail, mark)}
        values = _values(load(conn), person, trail, bills.values())
        _rename_bills(conn, person, trail, bills.values())
        return {
            "bill": len(bills),
            "rollup_user_day": _rename_days(conn, person),
            "rollup_bill_user": rename_user(conn, person.tenant_id, person.user_id, person.pseudonym),
            **_rename_values(conn, person, trail, values),
        }


# ---------------------------------------------------------------- bills

_BILL = (
    "SELECT bill_id, begin_at, service, environment, feature, user_id, session_id, key_id, model, provider_name, "
    "prompt_version FROM bill WHERE tenant_id = %s AND (user_id = %s OR session_id = ANY(%s)) AND "
)


def _bills(conn: Connection, person: Person, trail: Trail, day: date) -> Iterable[Billed]:
    who = (person.tenant_id, person.user_id, list(trail.sessions))
    return map(_billed, conn.execute(_BILL + "begin_at >= %s AND begin_at < %s", (*who, *day_bounds(day))).fetchall())


def _bills_since(conn: Connection, person: Person, trail: Trail, mark: int) -> Iterable[Billed]:
    """Those that were written since: ids grow with time."""
    who = (person.tenant_id, person.user_id, list(trail.sessions))
    return map(_billed, conn.execute(_BILL + "bill_id > %s", (*who, mark)).fetchall())


def _billed(row: tuple[Any, ...]) -> Billed:
    bill_id, begin_at, *who, model, provider_name, prompt_version = row
    return Billed(bill_id, begin_at, Attribution(*who), model, provider_name, prompt_version)


def _after(attribution: Attribution, person: Person, trail: Trail) -> Attribution:
    is_theirs = attribution.user_id == person.user_id
    session = attribution.session_id
    return replace(
        attribution,
        user_id=person.pseudonym if is_theirs else attribution.user_id,
        session_id=trail.sessions.get(session, session),
    )


def _rename_bills(conn: Connection, person: Person, trail: Trail, bills: Iterable[Billed]) -> None:
    changes = []
    for bill in bills:
        after = _after(bill.attribution, person, trail)
        changes.append((after.user_id, after.session_id, person.tenant_id, bill.bill_id, bill.begin_at))
    with conn.cursor() as cursor:
        cursor.executemany(
            "UPDATE bill SET user_id = %s, session_id = %s WHERE tenant_id = %s AND bill_id = %s AND begin_at = %s",
            changes,
        )


def _rename_days(conn: Connection, person: Person) -> int:
    """Users' days; one that bears the pseudonym already (of a run that was killed) takes the rest in."""
    names = ", ".join(USERS_DAY)
    added = ", ".join(f"{name} = d.{name} + excluded.{name}" for name in USERS_DAY)
    return conn.execute(
        "WITH gone AS (DELETE FROM rollup_user_day WHERE tenant_id = %s AND user_id = %s RETURNING *) "
        f"INSERT INTO rollup_user_day AS d (tenant_id, day, user_id, {names}) SELECT tenant_id, day, %s, {names} "
        f"FROM gone ON CONFLICT (tenant_id, day, user_id) DO UPDATE SET {added}",
        (person.tenant_id, person.user_id, person.pseudonym),
    ).rowcount


# ---------------------------------------------------------------- budgets


def _values(budgets: Budgets, person: Person, trail: Trail, bills: Iterable[Billed]) -> Values:
    """What becomes of each budget's value that these bills are counted in."""
    asked = {}
    for bill in bills:
        asked[bill.attribution, bill.model, bill.provider_name, bill.prompt_version] = bill
    found: Values = {}
    for bill in asked.values():
        rest = bill.model, bill.provider_name, ns_from_utc(bill.begin_at), bill.prompt_version
        before = budgets.applying(person.tenant_id, bill.attribution, *rest)
        after = budgets.applying(person.tenant_id, _after(bill.attribution, person, trail), *rest)
        becomes = {applied.budget.id: applied.value for applied in after}
        for applied in before:
            if (value := becomes.get(applied.budget.id, applied.value)) != applied.value:
                found[applied.budget.id, applied.value] = value
    return found


def _rename_values(conn: Connection, person: Person, trail: Trail, values: Values) -> Found:
    each = {info.id: info.each for info in load(conn).infos}
    kept = conn.execute(
        "SELECT budget_id, value FROM budget_spend WHERE tenant_id = %(tenant)s UNION "
        "SELECT budget_id, value FROM threshold_event WHERE tenant_id = %(tenant)s UNION "
        "SELECT r.budget_id, r.value FROM budgets_raise r JOIN budgets_budget b ON b.id = r.budget_id "
        "WHERE b.tenant_id = %(tenant)s AND r.value IS NOT NULL",
        {"tenant": person.tenant_id},
    ).fetchall()
    found: Found = {"budget_spend": 0, "threshold_event": 0, "budgets_raise": 0}
    for budget_id, value in kept:
        new = values.get((budget_id, value))
        if new is None:  # its bills have gone, or it is of an earlier revision
            new = person.rename_value(value, each.get(budget_id), trail.sessions)
        if new != value:
            for table, count in _rename_value(conn, person.tenant_id, budget_id, value, new).items():
                found[table] += count
    return found


def _rename_value(conn: Connection, tenant_id: int, budget_id: int, value: str, new: str) -> Found:
    asked = {"tenant": tenant_id, "budget": budget_id, "value": value, "new": new}
    gone = (
        "WITH gone AS (DELETE FROM {} WHERE tenant_id = %(tenant)s AND budget_id = %(budget)s AND value = %(value)s "
        "RETURNING *) "
    )
    spend = conn.execute(
        gone.format("budget_spend")
        + "INSERT INTO budget_spend AS s (tenant_id, budget_id, revision, value, window_start, spent, version) "
        "SELECT tenant_id, budget_id, revision, %(new)s, window_start, spent, version FROM gone "
        "ON CONFLICT (tenant_id, budget_id, revision, value, window_start) DO UPDATE "
        "SET spent = s.spent + excluded.spent, version = GREATEST(s.version, excluded.version) + 1, updated_at = now()",
        asked,
    ).rowcount
    events = conn.execute(
        gone.format("threshold_event")
        + "INSERT INTO threshold_event (tenant_id, budget_id, revision, value, window_start, threshold, spent, "
        "limit_amount, at, alerted_at) SELECT tenant_id, budget_id, revision, %(new)s, window_start, threshold, spent, "
        "limit_amount, at, alerted_at FROM gone ON CONFLICT DO NOTHING",
        asked,
    ).rowcount
    raises = conn.execute(
        "UPDATE budgets_raise SET value = %(new)s WHERE budget_id = %(budget)s AND value = %(value)s", asked
    ).rowcount
    return {"budget_spend": spend, "threshold_event": events, "budgets_raise": raises}
