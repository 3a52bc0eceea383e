"""The person's id out of every other table: whatever text a tenant's row has, in columns as the database knows them.

A table that is new is looked through like the others: nobody has to remember it. What is left alone is named here,
each with why.
"""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors, sql
from psycopg.types.json import Jsonb

from llmobs.keeping.person import Person

Connection = psycopg.Connection[Any]
Found = dict[str, int]
Columns = dict[str, list[tuple[str, str, bool]]]  # of a table: name, type, whether it is of its key
Points = dict[str, list[tuple[str, str, str]]]  # of a table: its column, the table that it points to, its column there

# Tables that have a way of their own.
APART = {
    "span": "erasing_spans", "trace": "erasing_spans", "payload_block": "erasing_spans",
    "bill": "erasing_money", "rollup_user_day": "erasing_money",
    "rollup_bill_user": "erasing_money", "budget_spend": "erasing_money",
    "threshold_event": "erasing_money",
    "raw_body": "erasing_bodies", "dead_letter": "erasing_bodies",
}  # fmt: skip
# Columns that have a way of their own.
COLUMNS_APART = {"budgets_raise": {"value"}}
# Configuration, which people write: while it names the person, erasing is refused.
CONFIGURED = {
    "budgets_budget": ("budget", ("name", "scope")),
    "limits_limit": ("limit", ("name", "scope")),
    "alerts_alertrule": ("alert rule", ("name", "filters")),
}
# Tables that hold nothing of a tenant's users, each with why.
LEFT_ALONE = {
    "claim": "ids of spans and responses, the long ones as 64 bits of a hash",
    "erasure": "holds a keyed fingerprint; the id is sealed until it is done",
    "tenants_tenant": "configuration", "tenants_key": "configuration", "tenants_membership": "configuration",
    "tenants_user": "who signs in here", "account_emailaddress": "who signs in here",
    "account_emailconfirmation": "who signs in here", "django_session": "who signs in here",
    "prompts_prompt": "configuration", "prompts_promptversion": "configuration: a version is never changed",
    "prompts_label": "configuration", "prompts_experiment": "configuration",
    "evals_judge": "configuration", "alerts_channel": "configuration", "pricing_price": "configuration",
    "reconcile_account": "configuration", "reconcile_report": "a provider's own report, as evidence",
    "reconcile_reportrow": "a provider's own report, as evidence",
}  # fmt: skip
# What tables of a tenant are added up by: names of the tenant's things, not of people.
ROLLED_UP = "rollup_"
# Tables of the whole installation in which a tenant's values may be told.
COMMON = ("verification", "django_admin_log")
# Who did something here, not whom a span names: the trail must say it.
ACTORS = frozenset(
    {"actor", "asked_by", "created_by", "acknowledged_by", "resolved_by", "ended_by", "released_by", "owner", "host"}
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table with texts. `whose`: how the tenant is known, with one parameter."""

    name: str
    key: tuple[str, ...]
    texts: tuple[str, ...]
    lists: tuple[str, ...]
    bodies: tuple[str, ...]
    whose: str

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.texts, *self.lists, *self.bodies)


_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, NULL), COALESCE(a.attnum = ANY(i.indkey), false)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname, a.attnum
"""
_POINTS = """
SELECT k.conrelid::regclass::text, a.attname, k.confrelid::regclass::text, f.attname
FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
JOIN pg_attribute f ON f.attrelid = k.confrelid AND f.attnum = k.confkey[1]
WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace ORDER BY 1, 2
"""
_TEXTS, _LISTS, _BODIES = ("text", "character varying"), ("text[]", "character varying[]"), ("jsonb", "json")


def tables(conn: Connection) -> list[Table]:
    """Every table that may hold an id and has no way of its own."""
    columns: Columns = {}
    for table, *column in conn.execute(_COLUMNS):
        columns.setdefault(table, []).append((column[0], column[1], column[2]))
    points: Points = {}
    for table, column, other, key in conn.execute(_POINTS):
        points.setdefault(table, []).append((column, other, key))
    found = []
    for name, known in columns.items():
        if name in APART or name in LEFT_ALONE or name in CONFIGURED or name.startswith(ROLLED_UP):
            continue
        whose = "%s > 0" if name in COMMON else _whose(name, columns, points, 3)
        apart = ACTORS | COLUMNS_APART.get(name, set())
        made = [[n for n, kind, _ in known if kind in kinds and n not in apart] for kinds in (_TEXTS, _LISTS, _BODIES)]
        key = tuple(n for n, _, is_key in known if is_key)
        if whose and key and any(made):
            found.append(Table(name, key, tuple(made[0]), tuple(made[1]), tuple(made[2]), whose))
    return found


def _whose(name: str, columns: Columns, points: Points, depth: int) -> str:
    """The condition by which a table's rows are a tenant's, over what it points to; "": they are nobody's."""
    if any(column == "tenant_id" for column, *_ in columns.get(name, [])):
        return "tenant_id = %s"
    for column, other, key in points.get(name, []) if depth else []:
        if inner := _whose(other, columns, points, depth - 1):
            return f"{column} IN (SELECT {key} FROM {other} WHERE {inner})"  # noqa: S608 (names of the database)
    return ""


def refused_by(conn: Connection, person: Person) -> str:
    """Which configuration names the person, in words; "": none does."""
    for table, (what, columns) in CONFIGURED.items():
        listed = ", ".join(columns)
        for values in conn.execute(
            f"SELECT {listed} FROM {table} WHERE tenant_id = %s ORDER BY 1",  # noqa: S608 (constants)
            (person.tenant_id,),
        ):
            if _names(person, values[1].get("user") if isinstance(values[1], dict) else None) or (
                person.is_telling and any(person.rename_json(value) != value for value in values)
            ):
                return f"the {what} {person.rename(values[0])!r}"
    return ""


def _names(person: Person, who: object) -> bool:
    return who == person.user_id or (isinstance(who, list) and person.user_id in who)


def rename_texts(conn: Connection, person: Person) -> Found:
    """Every text of the tenant's; how many rows of each table. In the caller's transaction."""
    found: Found = {}
    for table in tables(conn):
        if renamed := _rename_table(conn, person, table):
            found[table.name] = renamed
    return found


def _rename_table(conn: Connection, person: Person, table: Table) -> int:
    places = [
        *(sql.SQL("position(%(id)s IN {}) > 0").format(sql.Identifier(name)) for name in table.texts),
        *(sql.SQL("position(%(id)s IN array_to_string({}, ' ')) > 0").format(sql.Identifier(n)) for n in table.lists),
        *(sql.SQL("position(%(escaped)s IN {}::text) > 0").format(sql.Identifier(name)) for name in table.bodies),
    ]
    query = sql.SQL("SELECT {}, {} FROM {} WHERE {} AND ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, table.key)),
        sql.SQL(", ").join(map(sql.Identifier, table.columns)),
        sql.Identifier(table.name),
        sql.SQL(table.whose.replace("%s", "%(tenant)s")),
        sql.SQL(" OR ").join(places),
    )
    rows = conn.execute(query, {"tenant": person.tenant_id, "id": person.user_id, "escaped": person.escaped}).fetchall()
    return sum(_rename_row(conn, person, table, row[: len(table.key)], row[len(table.key) :]) for row in rows)


def _rename_row(conn: Connection, person: Person, table: Table, key: tuple[Any, ...], values: tuple[Any, ...]) -> bool:
    new = [_renamed(person, name, value) for name, value in zip(table.columns, values, strict=True)]
    if new == list(values):
        return False
    stored = [Jsonb(value) if name in table.bodies and value is not None else value
              for name, value in zip(table.columns, new, strict=True)]  # fmt: skip
    where = sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in table.key)
    changed = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in table.columns)
    update = sql.SQL("UPDATE {} SET {} WHERE {}").format(sql.Identifier(table.name), changed, where)
    try:
        with conn.transaction():
            conn.execute(update, (*stored, *key))
    except errors.UniqueViolation:  # another row says the same now: one of them is enough
        conn.execute(sql.SQL("DELETE FROM {} WHERE {}").format(sql.Identifier(table.name), where), key)
    except errors.StringDataRightTruncation:
        stored = [value[: len(old)] if isinstance(value, str) and isinstance(old, str) else value
                  for value, old in zip(stored, values, strict=True)]  # fmt: skip
        conn.execute(update, (*stored, *key))
    return True


def _renamed(person: Person, column: str, value: Any) -> Any:
    """An id that may be any word is looked for where nothing but a user can stand."""
    if person.is_telling or value == person.user_id:
        return person.rename_json(value)
    if column == "user_id" or not isinstance(value, dict):
        return value
    return _named_fields(person, value)


def _named_fields(person: Person, value: dict[str, Any]) -> dict[str, Any]:
    return {name: person.rename_json(item) if "user" in name else item for name, item in value.items()}
