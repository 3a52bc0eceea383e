"""What bills take of a budget, as SQL adds it up: of its scopes, by its values, in USD or tokens."""

from collections.abc import Sequence
from typing import Any, LiteralString

from psycopg import sql

from llmobs.budgets.definition import USD, BudgetInfo, Connection
from llmobs.budgets.scope import COLUMNS, Scope, canonical_value, key_value
from llmobs.core.clock import NS_PER_SECOND, utc_from_ns

# As `Bill.taken_nanousd`.
USD_OF_BILL = "COALESCE(cost_nanousd, held_nanousd)"
INPUT_OF_BILL = (
    "uncached_input_tokens + cache_read_input_tokens + cache_write_5m_input_tokens + cache_write_1h_input_tokens"
)
TOKENS_OF_BILL = f"{INPUT_OF_BILL} + output_tokens"


def billed_by_value(conn: Connection, budget: BudgetInfo, from_s: int, to_s: int) -> dict[str, int]:
    """What the bills begun from `from_s` to before `to_s` take of a budget, by value: its spend, from the bills."""
    return taken_by_value(conn, budget, from_s, to_s, "bill", USD_OF_BILL if budget.unit == USD else TOKENS_OF_BILL)


def taken_by_value(
    conn: Connection, budget: BudgetInfo, from_s: int, to_s: int, table: LiteralString, amount: LiteralString
) -> dict[str, int]:
    """The same of any table that has a bill's columns. `amount`: what a row of it takes of the budget."""
    each = sql.SQL(", ").join([_column(name) for name in budget.each])
    query = sql.SQL("SELECT sum({amount})::bigint {each} FROM {table} WHERE {conditions} {group}").format(
        amount=sql.SQL(amount),
        table=sql.Identifier(table),
        each=sql.SQL(", {}").format(each) if budget.each else sql.SQL(""),
        conditions=scope_condition(budget),
        group=sql.SQL("GROUP BY {}").format(each) if budget.each else sql.SQL(""),
    )
    bounds = (utc_from_ns(from_s * NS_PER_SECOND), utc_from_ns(to_s * NS_PER_SECOND))
    return {
        canonical_value(_values(budget, row[1:])): int(row[0])
        for row in conn.execute(query, (budget.tenant_id, *bounds, *scope_values(budget)))
        if row[0]
    }


def scope_condition(budget: BudgetInfo) -> sql.Composed:
    """WHERE for the bills of a budget: tenant, from, to, then `scope_values`."""
    within: list[sql.Composable] = [sql.SQL("tenant_id = %s AND begin_at >= %s AND begin_at < %s")]
    if () not in budget.scopes:  # one that fixes nothing says it all
        within.append(sql.SQL("({})").format(sql.SQL(" OR ").join([_within(scope) for scope in budget.scopes])))
    return sql.SQL(" AND ").join(within)


def _within(scope: Scope) -> sql.Composable:
    return sql.SQL(" AND ").join([sql.SQL("{} = %s").format(_column(name)) for name, _ in scope])


def _column(dimension: str) -> sql.Composable:
    column = sql.Identifier(COLUMNS[dimension])
    return sql.SQL("split_part({}, '@', 1)").format(column) if dimension == "prompt" else column


def scope_values(budget: BudgetInfo) -> list[str | int]:
    """Parameters of `scope_condition` after tenant, from and to."""
    if () in budget.scopes:
        return []
    return [int(value) if name == "key" else value for scope in budget.scopes for name, value in scope]


def _values(budget: BudgetInfo, columns: Sequence[Any]) -> str | tuple[str, ...]:
    """The bill's columns as `definition.applying` sees them: sorted by dimension, a key by its id."""
    texts = tuple(
        key_value(column) if name == "key" else str(column) for name, column in zip(budget.each, columns, strict=True)
    )
    return texts[0] if len(texts) == 1 else texts
