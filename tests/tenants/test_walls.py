"""The wall at the SQL door: as the web's role, with a tenant said, no row of another is seen and none can be written.

Every table of the catalogue is tried, with a row of each of two tenants in it, made of whatever its columns take.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg import sql
from psycopg.errors import CheckViolation, InsufficientPrivilege

from dashboards.queries.levels import CLOSED
from llmobs.core.clock import NS_PER_SECOND, utc_from_ns
from llmobs.ops.embedded_postgres import WEB_USER
from llmobs.spans.words import index_days
from llmobs.tenants import walls
from llmobs.tenants.models import Tenant
from llmobs.tenants.walls import Table
from tests.ingest.making import START_NS, call, commit
from tests.stores import TEST_DATABASE, Stores

OURS, THEIRS, NEW = 101, 102, 103  # tenants' ids, and those of all that is theirs
DAY_NS = 86_400 * NS_PER_SECOND
SAMPLES = {
    "bigint": 1, "integer": 1, "smallint": 1, "boolean": False, "numeric": 1, "double precision": 1.0,
    "timestamp with time zone": "now", "date": "today", "jsonb": {}, "bytea": "\\x01", "tsvector": "",
}  # fmt: skip
LIMITED = {"budgets_budget": {"limit_tokens": 1}}  # a check over two columns


@pytest.fixture
def web(pg: "psycopg.Connection[Any]", migrated: Stores) -> "Iterator[psycopg.Connection[Any]]":
    """A connection as the web's role, in autocommit; two tenants have a row in every table that is theirs."""
    for tenant_id, slug in ((OURS, "ours"), (THEIRS, "theirs")):
        Tenant.objects.create(pk=tenant_id, slug=slug, name=slug)
        for table in owned(pg):
            if table.name != walls.TENANTS:
                insert(pg, table.name, row_of(pg, table.name, tenant_id))
    with psycopg.connect(migrated.postgres.web_url(TEST_DATABASE), autocommit=True) as conn:
        yield conn


def owned(conn: "psycopg.Connection[Any]") -> list[Table]:
    return [table for table in walls.tables(conn) if walls.is_tenants(table) and not table.is_partition]


def row_of(conn: "psycopg.Connection[Any]", table: str, tenant_id: int) -> dict[str, Any]:
    """A row whose every id is the tenant's, the rest by type, or the first of what a check lets in."""
    found: dict[str, Any] = {}
    checks = dict(
        conn.execute(
            "SELECT a.attname, substring(pg_get_constraintdef(c.oid) FROM $$'([^']+)'$$) FROM pg_constraint c "
            "JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey) "
            "WHERE c.conrelid = %s::regclass AND c.contype = 'c'",
            (table,),
        ).fetchall()
    )
    for name, kind, is_needed in conn.execute(
        "SELECT attname, format_type(atttypid, NULL), attnotnull AND NOT atthasdef FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
        (table,),
    ):
        is_id = kind in ("bigint", "integer") and (name == "id" or name.endswith("_id"))
        sample = [] if kind.endswith("[]") else SAMPLES.get(kind, checks.get(name) or str(tenant_id))
        found[name] = tenant_id if is_id else sample
        if not is_needed and not is_id:
            del found[name]
    return {**found, **LIMITED.get(table, {})}


def insert(conn: "psycopg.Connection[Any]", table: str, row: dict[str, Any]) -> None:
    """Without triggers and checks of other tables: what is tried here is the wall."""
    with conn.transaction():
        conn.execute("SET LOCAL session_replication_role = replica")
        _insert(conn, table, row)


def _insert(conn: "psycopg.Connection[Any]", table: str, row: dict[str, Any]) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, row))
    conn.execute(
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM jsonb_populate_record(NULL::{}, %s)").format(
            sql.Identifier(table), names, names, sql.Identifier(table)
        ),
        (json.dumps(row),),
    )


@contextmanager
def said(web: "psycopg.Connection[Any]", what: str) -> Iterator[None]:
    with web.transaction(force_rollback=True):
        web.execute("SELECT set_config('llmobs.tenants', %s, true)", (what,))
        yield


def whose(table: str) -> sql.Composed:
    """SQL of the tenant that a row t of the table belongs to."""
    column = "id" if table == walls.TENANTS else walls.OF.get(table, ("tenant_id", ""))[0]
    return sql.SQL("t.{}").format(sql.Identifier(column))


def seen(web: "psycopg.Connection[Any]", table: str) -> set[int]:
    found = web.execute(sql.SQL("SELECT DISTINCT {} FROM {} t").format(whose(table), sql.Identifier(table)))
    return {row[0] for row in found}


def changed(web: "psycopg.Connection[Any]", table: str, statement: sql.Composed) -> int:
    """How many rows the statement changes; refused outright is none."""
    try:
        with web.transaction():
            return web.execute(statement).rowcount
    except (InsufficientPrivilege, CheckViolation):  # a trigger of the table's own may be first
        return 0


def test_every_table_is_said_to_be_somebodys(pg: "psycopg.Connection[Any]") -> None:
    tables = walls.tables(pg)
    unknown = [table.name for table in tables if not table.is_partition and not walls.is_known(table)]
    assert not unknown, "say in llmobs/tenants/walls.py what the web may see of them"
    named = walls.SEEN_BY_ALL | walls.OF.keys() | walls.WRITTEN | walls.SHARED | walls.OPEN | walls.RAISED
    assert named | walls.OPERATORS | walls.CLOSED | walls.EMPTIED <= {table.name for table in tables}


def test_every_table_of_tenants_has_its_policy(pg: "psycopg.Connection[Any]") -> None:
    tables = owned(pg)
    assert len(tables) > 50
    assert [table.name for table in tables if not table.has_security or walls.POLICY not in table.policies] == []


def test_with_one_tenant_said_every_table_shows_that_tenant_alone(web: "psycopg.Connection[Any]") -> None:
    for table in owned(web):
        with said(web, str(OURS)):
            assert seen(web, table.name) == {OURS}, table.name


def test_with_several_said_it_shows_these_and_with_all_said_all(web: "psycopg.Connection[Any]") -> None:
    for table in owned(web):
        for what in (f"{OURS},{THEIRS}", "*"):
            with said(web, what):
                assert seen(web, table.name) == {OURS, THEIRS}, (table.name, what)


def test_with_nothing_said_there_is_nothing(web: "psycopg.Connection[Any]") -> None:
    for table in owned(web):
        assert seen(web, table.name) == set(), table.name
        with said(web, ""):
            assert seen(web, table.name) == set(), table.name


def test_nothing_of_others_is_changed_or_deleted(web: "psycopg.Connection[Any]", pg: "psycopg.Connection[Any]") -> None:
    for table in owned(pg):
        name, tenant = sql.Identifier(table.name), whose(table.name)
        column = sql.Identifier("id" if table.name == walls.TENANTS else walls.OF.get(table.name, ("tenant_id", ""))[0])
        with said(web, str(OURS)):
            touch = sql.SQL("UPDATE {} t SET {} = {} WHERE {} = {}").format(
                name, column, tenant, tenant, sql.Literal(THEIRS)
            )
            assert changed(web, table.name, touch) == 0, table.name
            assert changed(web, table.name, sql.SQL("DELETE FROM {} t WHERE {} = {}").format(
                name, tenant, sql.Literal(THEIRS)
            )) == 0, table.name  # fmt: skip
            give = sql.SQL("UPDATE {} SET {} = {}").format(name, column, sql.Literal(THEIRS))
            assert changed(web, table.name, give) == 0, table.name


def test_nothing_is_written_as_somebody_elses(web: "psycopg.Connection[Any]", pg: "psycopg.Connection[Any]") -> None:
    for table in owned(pg):
        row = {**row_of(pg, table.name, NEW), whose(table.name).as_string()[2:].strip('"'): THEIRS}
        with said(web, str(OURS)), pytest.raises(InsufficientPrivilege):
            _insert(web, table.name, row)


def test_what_belongs_to_nobody_is_written_by_operators_alone(web: "psycopg.Connection[Any]") -> None:
    for table in sorted(walls.SHARED | walls.OPERATORS):
        with said(web, str(OURS)):
            emptied = sql.SQL("DELETE FROM {}").format(sql.Identifier(table))
            assert changed(web, table, emptied) == 0, table
    with said(web, str(OURS)), pytest.raises(InsufficientPrivilege):
        web.execute("INSERT INTO limits_limit (name, unit, per, \"limit\", scope, is_active, created_at) "
                    "VALUES ('all', 'calls', 'minute', 1, '{}', true, now())")  # fmt: skip


def test_the_role_owns_nothing_makes_nothing_and_does_no_more_than_said(web: "psycopg.Connection[Any]") -> None:
    for table in walls.tables(web):
        may = {
            each
            for each in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
            if web.execute("SELECT has_table_privilege(%s, %s)", (f'"{table.name}"', each)).fetchone() == (True,)
        }
        assert may == walls.privileges(table), table.name
    with pytest.raises(InsufficientPrivilege):
        web.execute("CREATE TABLE mine (id bigint)")
    with pytest.raises(InsufficientPrivilege):
        web.execute("SET ROLE llmobs")


def test_a_partition_is_no_way_around(web: "psycopg.Connection[Any]", pg: "psycopg.Connection[Any]") -> None:
    partitions = [table.name for table in walls.tables(pg) if table.is_partition]
    assert len(partitions) > 20
    for name in partitions:
        with said(web, "*"), pytest.raises(InsufficientPrivilege):
            web.execute(sql.SQL("SELECT 1 FROM {}").format(sql.Identifier(name)))


def test_raising_it_again_changes_nothing_and_mends_what_was_changed(pg: "psycopg.Connection[Any]") -> None:
    before = _state(pg)
    pg.execute("DROP POLICY wall ON span; ALTER TABLE bill DISABLE ROW LEVEL SECURITY")
    pg.execute(f"GRANT ALL ON span, django_migrations TO {WEB_USER}; REVOKE ALL ON trace FROM {WEB_USER}")
    walls.raise_walls(pg, WEB_USER)
    assert _state(pg) == before


def test_a_new_table_has_its_wall_with_the_next_migration(pg: "psycopg.Connection[Any]") -> None:
    pg.execute("CREATE TABLE brand_new (tenant_id bigint); CREATE TABLE not_said (id bigint)")
    try:
        walls.raise_walls(pg, WEB_USER)
        made = {table.name: table for table in walls.tables(pg)}
        assert made["brand_new"].has_security
        assert not walls.is_known(made["not_said"])
        rights = "SELECT has_table_privilege(%s, 'brand_new', 'SELECT'), has_table_privilege(%s, 'not_said', 'SELECT')"
        assert pg.execute(rights, (WEB_USER, WEB_USER)).fetchone() == (True, False)
    finally:
        pg.execute("DROP TABLE brand_new, not_said")


def test_the_owner_is_not_bound(pg: "psycopg.Connection[Any]", web: "psycopg.Connection[Any]") -> None:
    assert connection.settings_dict["USER"] != WEB_USER
    for table in owned(pg):
        assert seen(pg, table.name) == {OURS, THEIRS}, table.name


def test_a_search_finds_what_is_of_the_tenants_said_whatever_it_asks(
    web: "psycopg.Connection[Any]", pg: "psycopg.Connection[Any]"
) -> None:
    """`spans_found` works past the policies, as the owner."""
    for tenant_id in (OURS, THEIRS):
        commit(pg, call(tenant_id, start_ns=START_NS - DAY_NS, trace_id=bytes([tenant_id]) * 16))
    index_days(pg, utc_from_ns(START_NS).date())
    ask = (
        "SELECT DISTINCT found_tenant FROM spans_found(ARRAY[101, 102]::bigint[], $$'=o:ok'$$::tsquery, "
        "%s::timestamptz - interval '2 days', %s::timestamptz, 100) ORDER BY 1"
    )
    until = (utc_from_ns(START_NS), utc_from_ns(START_NS))
    assert web.execute(ask, until).fetchall() == []
    for said_now, found in ((str(OURS), [(OURS,)]), ("103", []), ("*", [(OURS,), (THEIRS,)])):
        with said(web, said_now):
            assert web.execute(ask, until).fetchall() == found
    assert pg.execute(ask, until).fetchall() == [(OURS,), (THEIRS,)]
    with pg.transaction():
        pg.execute(f"SET LOCAL ROLE {WEB_USER}")  # as tests of pages are bound
        assert pg.execute(ask, until).fetchall() == []


def test_what_is_read_after_the_closed_days_goes_by_its_index_behind_the_policy(
    web: "psycopg.Connection[Any]",
) -> None:
    """What PostgreSQL thinks might leak is no condition of an index: then a month of roll-ups is read for an hour."""
    with said(web, str(OURS)):
        web.execute("SET LOCAL enable_seqscan = off")
        plan = web.execute(
            f"EXPLAIN SELECT 1 FROM rollup_hour WHERE tenant_id = ANY('{{101}}'::bigint[]) AND hour >= {CLOSED}"
        ).fetchall()
    assert any("Index Cond" in line and "hour >=" in line for (line,) in plan), plan


def _state(pg: "psycopg.Connection[Any]") -> list[tuple[Any, ...]]:
    return pg.execute(
        "SELECT c.relname, c.relrowsecurity, (SELECT array_agg(a.privilege_type ORDER BY 1) "
        f"FROM aclexplode(c.relacl) a WHERE a.grantee = '{WEB_USER}'::regrole), (SELECT array_agg(p.polname || "
        "COALESCE(pg_get_expr(p.polqual, c.oid), '') ORDER BY 1) FROM pg_policy p WHERE p.polrelid = c.oid) "
        "FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1"
    ).fetchall()
