"""Large tables are ready to be sharded by tenant: their keys, and what is asked of them."""

from typing import Any

import psycopg
import pytest

from llmobs.ops.verify import verify
from tests import shard_rules
from tests.shard_rules import LARGE, SMALL, Broken, broken

Connection = psycopg.Connection[Any]
UNNAMED, INSERTED, COPIED, CONFLICT = (
    "read or changed without naming its tenant", "inserted without its tenant", "copied without its tenant",
    "its conflict is found without its tenant",
)  # fmt: skip

_TABLES = """
SELECT c.relname, EXISTS (
    SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.attnotnull)
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""
_UNIQUE = """
SELECT c.relname, i.relname FROM pg_index x
JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
WHERE (x.indisunique OR x.indisexclusion) AND c.relname = ANY(%s) AND NOT EXISTS (
    SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.attnum = ANY(x.indkey))
"""
_MADE = """
SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relname = ANY(%s) AND a.attnum > 0
AND (a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%%')
"""
_FOREIGN = """
SELECT conrelid::regclass::text, conname FROM pg_constraint
WHERE contype = 'f' AND (conrelid::regclass::text = ANY(%(large)s) OR confrelid::regclass::text = ANY(%(large)s))
"""


def test_every_table_is_known_to_be_large_or_small(pg: Connection) -> None:
    """A new one: say in shard_rules.py whether its rows grow with traffic."""
    found = dict(pg.execute(_TABLES).fetchall())
    unknown = {name for name in found if shard_rules.large(name) != name and not SMALL.match(name)}
    assert unknown == set()
    assert LARGE - found.keys() == set()
    assert {name for name in LARGE if not found[name]} == set()  # the tenant may not be missing


def test_every_unique_key_of_a_large_table_holds_its_tenant(pg: Connection) -> None:
    assert pg.execute(_UNIQUE, (sorted(LARGE),)).fetchall() == []


def test_no_large_table_counts_its_own_ids(pg: Connection) -> None:
    """Identity columns came back NULL from distributed partitions."""
    assert pg.execute(_MADE, (sorted(LARGE),)).fetchall() == []


def test_no_large_table_refers_to_another_or_is_referred_to(pg: Connection) -> None:
    assert pg.execute(_FOREIGN, {"large": sorted(LARGE)}).fetchall() == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM span WHERE tenant_id = ANY(%s) AND start >= %s",
        "SELECT s.name FROM unnest(%s::bigint[], %s::bytea[]) AS k (tenant_id, span_id) "
        "JOIN span s USING (tenant_id, span_id)",
        "SELECT * FROM span s JOIN bill b ON b.tenant_id = s.tenant_id AND b.span_id = s.span_id "
        "WHERE s.tenant_id = %s",
        "SELECT (SELECT count(*) FROM trace t WHERE t.tenant_id = x.id) FROM tenants_tenant x",
        "INSERT INTO claim (tenant_id, trace_id) VALUES (%s, %s) ON CONFLICT (tenant_id, trace_id) DO NOTHING",
        "UPDATE budget_spend SET spent = 0 WHERE tenant_id = %(tenant)s",
        "COPY span (tenant_id, trace_id) FROM STDIN (FORMAT binary)",
        "WITH gone AS (DELETE FROM rollup_delta WHERE tenant_id = %s RETURNING *) SELECT * FROM gone",
        "SELECT x FROM (SELECT s.*, 1 FROM span s) t WHERE t.tenant_id = ANY(%s)",
        "SELECT 1 FROM tenants_tenant",
        "CREATE INDEX x ON span_20261121 (start)",
    ],
)
def test_a_statement_that_names_the_tenant_passes(sql: str) -> None:
    assert broken(sql) == ()


@pytest.mark.parametrize(
    ("sql", "table", "rule"),
    [
        ("SELECT count(*) FROM span WHERE start >= %s", "span", UNNAMED),
        ("SELECT * FROM span_20261121", "span", UNNAMED),
        ("SELECT tenant_id FROM bill GROUP BY 1", "bill", UNNAMED),
        ("SELECT * FROM span s JOIN bill b ON b.span_id = s.span_id WHERE s.tenant_id = %s", "bill", UNNAMED),
        ("SELECT x FROM (SELECT * FROM trace) t WHERE t.name = %s", "trace", UNNAMED),
        ("UPDATE claim SET is_counted = true WHERE span_id = %s", "claim", UNNAMED),
        ("DELETE FROM rollup_delta WHERE delta_id = %s", "rollup_delta", UNNAMED),
        ("WITH d AS (DELETE FROM rollup_hour RETURNING *) SELECT 1 FROM d", "rollup_hour", UNNAMED),
        ("INSERT INTO bill (bill_id) VALUES (%s)", "bill", INSERTED),
        ("INSERT INTO bill SELECT * FROM other", "bill", INSERTED),
        ("INSERT INTO trace (tenant_id, trace_id) VALUES (1, 2) ON CONFLICT (trace_id) DO NOTHING", "trace", CONFLICT),
        ("COPY payload_block (block_id, body) FROM STDIN", "payload_block", COPIED),
    ],
)
def test_a_statement_that_does_not_is_named(sql: str, table: str, rule: str) -> None:
    assert Broken(table, rule) in broken(sql)


def test_what_cannot_be_read_does_not_pass_unseen() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        broken("SELEC * FORM span WHERE (")


def test_a_statement_of_ours_that_breaks_a_rule_is_told_with_the_module_that_ran_it(pg: Connection) -> None:
    watch = shard_rules.Watch()
    watch.look("SELECT count(*) FROM span", "dashboards/queries/traces.py")
    assert watch.told() == [f"dashboards/queries/traces.py: span: {UNNAMED}: SELECT count(*) FROM span"]
    assert watch.told() == []
    for module, table in shard_rules.REASONS:
        watch.look(f"SELECT count(*) FROM {table or 'span'}", module)
    assert watch.told() == []


def test_what_tests_ask_themselves_is_theirs(pg: Connection) -> None:
    with shard_rules.watched() as watch:
        pg.execute("SELECT count(*) FROM span").fetchall()
        assert watch.told() == []
        verify(pg)
        assert watch.told() == []


def test_each_exception_is_a_module_that_is_there() -> None:
    assert [name for name, _ in shard_rules.REASONS if not (shard_rules.ROOT / name).exists()] == []
