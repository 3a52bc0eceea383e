"""The rules that keep the tables ready to be sharded by tenant (Citus), checked on SQL as the tests run it.

1. A statement on a large table names the tenant: for each large table that it reads or changes, `tenant_id` is compared
   in the same query's WHERE, JOIN … ON or USING; what it inserts or copies has a column `tenant_id`, and an
   ON CONFLICT target holds it.
2. A statement that does not, and should not, has a named reason here, by the module that runs it.
Statements are taken apart by sqlglot. What it cannot read is a failure too, so that nothing passes unseen.
`watched` has every statement of ours looked at, by a hook on psycopg's cursors, in whichever test it is run; what tests
ask themselves is theirs.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg
import pytest
import sqlglot
from sqlglot import exp

TENANT = "tenant_id"

# Sharded by tenant: rows grow with traffic.
LARGE = frozenset(
    {
        "bill", "bill_late", "budget_spend", "claim", "conformance", "detail_block", "evals_judgement", "evals_score",
        "log_record", "payload_block",
        "raw_body", "rollup_bill", "rollup_bill_user", "rollup_day", "rollup_delta", "rollup_error_day",
        "rollup_error_hour", "rollup_error_quarter", "rollup_feature_day", "rollup_feature_hour",
        "rollup_feature_quarter", "rollup_hour", "rollup_minute", "rollup_model_day", "rollup_model_hour",
        "rollup_tenant_day", "rollup_tenant_five", "rollup_tenant_hour", "rollup_user_day", "security_event", "span",
        "threshold_event", "trace", "trace_delta",
    }
)  # fmt: skip

# Configuration and what people do: of the size of a company, not of its traffic. Reference tables, on Citus.
# Dead letters and braked sessions come of faults and runaways, and go with the spans.
SMALL = re.compile(
    r"(account|alerts|auth|budgets|django|limits|pricing|prompts|providers|reconcile|tenants)_|"
    r"(bill_chunk|braked_session|config_version|dead_letter|erasure|evals_judge|heartbeat|journal_offset|kept_from|let_go|"
    r"price_snapshot|price_version|provider_state|repricing|repricing_chunk|restored_day|rollup_closed|verification)$"
)

ROOT = Path(__file__).parents[1]

# Whose statements may pass over tenants, each with its reason: a module, and the table where it is one alone.
VERIFY = "verify reads everything, by design: sums of all tenants from all rows"
PARTITIONS = "retention looks at and drops whole days, of all tenants"
REASONS: dict[tuple[str, str], str] = {
    **{
        ("llmobs/keeping/letting_go.py", table): PARTITIONS
        for table in ("bill", "detail_block", "payload_block", "span", "trace")
    },
    ("llmobs/spans/migrations/0012_details.py", ""): "a migration goes through all rows",
    ("llmobs/spans/migrations/0014_nothing_is_null.py", ""): "a migration goes through all rows",
    ("llmobs/ops/difference.py", ""): VERIFY,
    ("llmobs/ops/verify.py", ""): VERIFY,
    ("llmobs/ops/verify_money.py", ""): VERIFY,
    ("llmobs/ops/verify_sums.py", ""): VERIFY,
    **{
        ("llmobs/rollups/days.py", f"rollup_{of}hour"): "days are closed for all tenants at once, by one worker"
        for of in ("", "error_", "feature_", "model_", "tenant_")
    },
    ("llmobs/ingest/log_records.py", "log_record"): "which tenants have any: one look at each, by the index",
    ("llmobs/ops/demo/stored.py", ""): "the demo looks whether all of its own folder has come",
    ("llmobs/pricing/updating.py", "bill"): "list prices are all tenants', and so is what new ones would change",
    ("llmobs/keeping/backup.py", ""): "a backup is of everything",
    ("llmobs/keeping/refilling.py", ""): "so is what is brought back",
    ("llmobs/rollups/compact.py", "rollup_delta"): "one compactor takes the oldest deltas, tenant by tenant in order",
    ("llmobs/alerts/thresholds.py", "threshold_event"): "an outbox: a worker takes the oldest, whosever they are",
    ("llmobs/reconcile/ledger.py", "bill"): "a provider's account, and so its report, is of all tenants",
    **{
        (f"dashboards/{module}.py", table): "an operator's list over all tenants, asked while it is rendered"
        for module in ("reading", "store_away")
        for table in ("evals_judgement", "evals_score", "security_event")
    },
}

# What statements only pass through: who had them run is further up.
_PASSAGES = frozenset({"llmobs/tenants/plain_connection.py", "llmobs/tenants/walled/base.py"})

_PARTITION = re.compile(r"_(p?\d{4,8}|h\d+|default)$")
# Nothing to shard: sessions, locks, settings, schema, and statements of the stores' own.
_PASSED = re.compile(
    r"(SET|RESET|SHOW|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|LOCK|VACUUM|ANALYZE|TRUNCATE|CREATE|ALTER|DROP|COMMENT|"
    r"GRANT|REVOKE|DECLARE|FETCH|CLOSE|DISCARD|DO|NOTIFY|LISTEN|EXPLAIN|REINDEX|CLUSTER)\b",
    re.I,
)


@dataclass(frozen=True)
class Broken:
    """A rule that a statement breaks, on which table."""

    table: str
    rule: str


def large(name: str) -> str:
    """The large table that a name means, a partition's too; "" for any other."""
    plain = name.lower()
    while plain not in LARGE and _PARTITION.search(plain):
        plain = _PARTITION.sub("", plain)
    return plain if plain in LARGE else ""


@cache
def broken(sql: str) -> tuple[Broken, ...]:
    """Every rule that this SQL breaks."""
    if _PASSED.match(sql.lstrip("( \n\t")):
        return ()
    if not any(re.search(rf"\b{table}", sql) for table in LARGE):
        return ()
    if (copied := re.match(r"\s*COPY\s+(\S+)\s*\(([^)]*)\)\s+FROM", sql, re.I)) is not None:
        return _of_copy(copied[1].strip('"'), copied[2])
    if re.match(r"\s*COPY\s*\((.*)\)\s*TO", sql, re.I | re.S):
        sql = re.sub(r"^\s*COPY\s*\((.*)\)\s*TO\b.*$", r"\1", sql, flags=re.I | re.S)
    found: list[Broken] = []
    try:
        statements = sqlglot.parse(_readable(sql), read="postgres")
    except sqlglot.errors.SqlglotError as error:
        raise ValueError(f"this SQL cannot be read: {sql}") from error
    for statement in statements:
        if statement is not None:
            found += _of_statement(statement)
    return tuple(dict.fromkeys(found))


def _readable(sql: str) -> str:
    """Placeholders as literals, which every place takes."""
    sql = re.sub(r"%\((\w+)\)[sbt]", r"'\1'", sql)
    return re.sub(r"%[sbt]", "'x'", sql).replace("%%", "%")


def _of_copy(table: str, columns: str) -> tuple[Broken, ...]:
    name = large(table)
    names = {column.strip().strip('"') for column in columns.split(",")}
    return (Broken(name, "copied without its tenant"),) if name and TENANT not in names else ()


def _of_statement(statement: Any) -> list[Broken]:
    found = []
    for insert in statement.find_all(exp.Insert):
        found += _of_insert(insert)
    for table in statement.find_all(exp.Table):
        name = large(table.name)
        if name and not _is_target(table) and not _is_cte(table, statement) and not _names_tenant(table):
            found.append(Broken(name, "read or changed without naming its tenant"))
    return found


def _of_insert(insert: exp.Insert) -> list[Broken]:
    target = insert.this
    table = target.find(exp.Table)
    name = large(table.name) if table is not None else ""
    if not name:
        return []
    columns = {column.name for column in target.expressions} if isinstance(target, exp.Schema) else set()
    found = [] if TENANT in columns else [Broken(name, "inserted without its tenant")]
    conflict = insert.args.get("conflict")
    keys = {key.name for key in conflict.args.get("conflict_keys") or []} if conflict is not None else set()
    if keys and TENANT not in keys:
        found.append(Broken(name, "its conflict is found without its tenant"))
    return found


def _is_target(table: exp.Table) -> bool:
    """What an INSERT writes to: its columns are looked at instead."""
    parent: Any = table.parent
    if isinstance(parent, exp.Schema):
        parent = parent.parent
    return isinstance(parent, exp.Insert) and (parent.this is table or parent.this is table.parent)


def _is_cte(table: exp.Table, statement: Any) -> bool:
    return any(cte.alias == table.name for cte in statement.find_all(exp.CTE))


def _names_tenant(table: exp.Table) -> bool:
    """Whether the query that the table stands in compares its tenant."""
    name, query = table.alias_or_name, _query_of(table)
    while query is not None:
        if any(column.name == TENANT and column.table in (name, "") for column in _conditions(query)):
            return True
        if _joined_by_tenant(query):
            return True
        within = query.parent  # a query in another's FROM: that one may name the tenant for it
        if not isinstance(within, exp.Subquery) or not isinstance(within.parent, exp.From | exp.Join | exp.Lateral):
            return False
        name, query = within.alias_or_name, _query_of(within)
    return False


def _query_of(part: Any) -> Any:
    return part.find_ancestor(exp.Select, exp.Update, exp.Delete, exp.Merge)


def _conditions(query: Any) -> list[exp.Column]:
    """Columns that the query compares: in its own WHERE and joins, also within row values and sub-queries of them."""
    places = [query.args.get("where"), *(join.args.get("on") for join in query.find_all(exp.Join))]
    return [column for place in places if place is not None for column in place.find_all(exp.Column)]


def _joined_by_tenant(query: Any) -> bool:
    joins = query.find_all(exp.Join)
    return any(getattr(part, "name", "") == TENANT for join in joins for part in join.args.get("using") or [])


# ---------------------------------------------------------------- what the tests run


@dataclass
class Watch:
    """Statements of ours that break a rule, since `told` was asked last; each is looked at once."""

    seen: set[tuple[str, str]] = field(default_factory=set)
    found: list[str] = field(default_factory=list)

    def look(self, sql: str, module: str) -> None:
        if (module, "") in REASONS or (sql, module) in self.seen:
            return
        self.seen.add((sql, module))
        try:
            found = [each for each in broken(sql) if (module, each.table) not in REASONS]
            rules = [f"{each.table}: {each.rule}" for each in found]
        except ValueError:
            rules = ["it cannot be read"]
        self.found += [f"{module}: {rule}: {' '.join(sql.split())[:300]}" for rule in rules]

    def told(self) -> list[str]:
        found, self.found = self.found, []
        return found


@contextmanager
def watched() -> Iterator[Watch]:
    """Every statement that goes through psycopg's cursors meanwhile, by the module of ours that had it run."""
    watch = Watch()
    with pytest.MonkeyPatch.context() as patch:
        for kind in (psycopg.Cursor, psycopg.ServerCursor):
            for name in ("execute", "executemany", "copy"):
                if name in vars(kind):
                    patch.setattr(kind, name, _looking(vars(kind)[name], watch))
        yield watch


def _looking(run: Any, watch: Watch) -> Any:
    def looked(cursor: Any, query: Any, *arguments: Any, **named: Any) -> Any:
        module = _module()
        if module:
            watch.look(_text(query, cursor), module)
        return run(cursor, query, *arguments, **named)

    return looked


def _module() -> str:
    """The first module of the project up the stack; "" where it is a test's."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(_OURS):
            name = path[len(str(ROOT)) + 1 :]
            if name not in _PASSAGES:
                return "" if name.startswith("tests/") else name
        frame = frame.f_back
    return ""


def _text(query: Any, cursor: Any) -> str:
    if isinstance(query, bytes):
        return query.decode()
    return query if isinstance(query, str) else str(query.as_string(cursor))


_OURS = tuple(f"{ROOT / name}/" for name in ("llmobs", "gateway", "dashboards", "tests"))
