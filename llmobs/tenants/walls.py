"""The second wall between tenants, in PostgreSQL: what the web's own role may touch, and which rows of it it sees.

1. Every table with a `tenant_id` has the policy `wall`: a row is seen, and may be written, by a transaction that said
   its tenant (`tenants.seeing`), or that said all. With nothing said there is nothing.
2. Rows that hang on such a row follow it (`OF`). What all share is read by all and written where all are seen
   (`SHARED`). What people sign in by has no policy (`OPEN`). A table that is named nowhere is closed to the web.
3. The role gets SELECT, and on what people edit (`WRITTEN`) the rest; on partitions nothing, so that their parent,
   which has the policy, is the only way to them.
4. The owner of the tables is not bound (no FORCE): writer, gateway, worker and commands are as they were.
`raise_walls` does it after every migration, from the catalogue: a new table has its wall by itself, or is closed.
The policy asks `(SELECT …)`, which PostgreSQL evaluates once for a statement and not for each row.
"""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from llmobs.tenants.seeing import EVERYTHING, SETTING

POLICY, WRITES = "wall", "wall_writes"

# The tenants of this table are its own rows.
TENANTS = "tenants_tenant"

# Rows of no tenant (`tenant_id` NULL) are operators', but for these, which everyone's figures go by.
SEEN_BY_ALL = {"limits_limit", "pricing_price"}

# Rows that belong to a row of another table: (the column that names it, the table).
OF = {
    "alerts_alertrule_channels": ("alertrule_id", "alerts_alertrule"),
    "alerts_delivery": ("alert_id", "alerts_alert"),
    "budgets_raise": ("budget_id", "budgets_budget"),
    "prompts_experiment": ("prompt_id", "prompts_prompt"),
    "prompts_label": ("prompt_id", "prompts_prompt"),
    "prompts_promptversion": ("prompt_id", "prompts_prompt"),
    "reconcile_cell": ("month_id", "reconcile_month"),
    "reconcile_month": ("account_id", "reconcile_account"),
    "reconcile_part": ("month_id", "reconcile_month"),
    "reconcile_report": ("account_id", "reconcile_account"),
    "reconcile_reportday": ("account_id", "reconcile_account"),
    "reconcile_reportrow": ("report_id", "reconcile_report"),
}

# Of the installation: everyone reads, operators write.
SHARED = {
    "auth_group",
    "auth_group_permissions",
    "auth_permission",
    "django_content_type",
    "heartbeat",
    "journal_offset",
    "price_snapshot",
    "price_version",
    "pricing_trustedprovider",
    "provider_state",
    "providers_candidate",
    "providers_overrun",
    "providers_provider",
    "providers_route",
    "rollup_closed",
    "verification",
}

# Read and written whoever asks, also before that is known: people, their sessions, the number that every change of
# configuration raises, colours by name.
OPEN = {
    "account_emailaddress",
    "account_emailconfirmation",
    "config_version",
    "django_session",
    "pricing_slot",
    "tenants_user",
    "tenants_user_groups",
    "tenants_user_user_permissions",
}

# Operators' alone.
OPERATORS = {"django_admin_log"}

# Nothing of it is asked for by a page.
CLOSED = {"django_migrations"}

# Tables that pages, REST or the admin write. On all others the role has SELECT alone.
WRITTEN = {
    TENANTS,
    "account_emailaddress",
    "account_emailconfirmation",
    "alerts_alert",
    "alerts_alertrule",
    "alerts_alertrule_channels",
    "alerts_channel",
    "alerts_delivery",
    "auth_group",
    "auth_group_permissions",
    "braked_session",
    "budgets_budget",
    "budgets_raise",
    "dead_letter",
    "django_admin_log",
    "django_session",
    "erasure",
    "evals_judge",
    "evals_score",
    "limits_limit",
    "price_snapshot",
    "pricing_price",
    "pricing_slot",
    "pricing_trustedprovider",
    "prompts_experiment",
    "prompts_label",
    "prompts_prompt",
    "prompts_promptversion",
    "providers_candidate",
    "providers_provider",
    "providers_route",
    "reconcile_account",
    "reconcile_month",
    "reconcile_report",
    "reconcile_reportday",
    "reconcile_reportrow",
    "repricing",
    "tenants_auditentry",
    "tenants_key",
    "tenants_membership",
    "tenants_user",
    "tenants_user_groups",
    "tenants_user_user_permissions",
}
RAISED = {"config_version"}  # UPDATE alone: by the triggers of what is configured
EMPTIED = {"evals_judgement", "security_event"}  # DELETE alone: with the tenant or judge that they hang on
EDITED = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})

# Written so that a statement asks each once. `row_security` cannot be turned off by the role: it would get an error.
FUNCTIONS = f"""
CREATE OR REPLACE FUNCTION sees_all() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT COALESCE(current_setting('{SETTING}', true) = '{EVERYTHING}', false)
$$;
CREATE OR REPLACE FUNCTION seen_tenants() RETURNS bigint[] LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT string_to_array(NULLIF(current_setting('{SETTING}', true), '{EVERYTHING}'), ',')::bigint[]
$$
"""
ALL = "(SELECT sees_all())"
OWN = "{} OR {} = ANY ((SELECT seen_tenants())::bigint[])"

Connection = psycopg.Connection[Any]


class WallError(Exception):
    """The wall cannot be raised; the message says what the operator has to do."""


@dataclass(frozen=True, slots=True)
class Table:
    """One of ours in the catalogue."""

    name: str
    has_tenant: bool
    is_partition: bool
    has_security: bool
    policies: dict[str, str]  # by name: what the wall's maker noted of it


def raise_walls(conn: Connection, role: str, password: str = "") -> None:
    """Bring policies to what is said above, and what the role may do, if there is one. Repeats nothing that is so."""
    conn.execute(FUNCTIONS)
    found = tables(conn)
    for table in found:
        _secure(conn, table)
    if role:
        make_role(conn, role, password)
        _grant(conn, role, found)


def make_role(conn: Connection, role: str, password: str) -> None:
    """The web's role, unless it is there. Raises WallError where we may not make roles."""
    if conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
        return
    name = sql.Identifier(role)
    may = conn.execute("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user").fetchone()
    if not may or not may[0]:
        raise WallError(
            f"there is no role {role}, which WEB_DATABASE_URL names, and we may not make it. Have an administrator do: "
            f"CREATE ROLE {name.as_string()} LOGIN PASSWORD '…'"
        )
    conn.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(password or None)))


def tables(conn: Connection) -> list[Table]:
    """All tables of the schema, extensions' left out."""
    rows = conn.execute(
        "SELECT c.relname, EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' "
        "AND NOT a.attisdropped), c.relispartition, c.relrowsecurity, COALESCE((SELECT jsonb_object_agg(p.polname, "
        "COALESCE(obj_description(p.oid, 'pg_policy'), '')) FROM pg_policy p WHERE p.polrelid = c.oid), '{}') "
        "FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') "
        "AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') ORDER BY 1"
    ).fetchall()
    return [Table(*row) for row in rows]


def is_tenants(table: Table) -> bool:
    """Whether its rows belong to tenants, one way or another."""
    return table.has_tenant or table.name == TENANTS or table.name in OF


def is_known(table: Table) -> bool:
    """Whether it is said what the web may see of it."""
    return is_tenants(table) or table.name in SHARED | OPEN | OPERATORS | CLOSED


def policies(table: Table) -> dict[str, str]:
    """What a table's policies should be, by name: all but the name and the table."""
    if table.is_partition or table.name in OPEN | CLOSED or not is_known(table):
        return {}
    if table.name in OPERATORS:
        return {POLICY: f"USING ({ALL})"}
    if table.name in SHARED:
        return {POLICY: "FOR SELECT USING (true)", WRITES: f"USING ({ALL})"}
    if table.name in OF:
        column, parent = OF[table.name]
        seen = f"EXISTS (SELECT 1 FROM {parent} p WHERE p.id = {table.name}.{column})"  # noqa: S608 - names of above
        return {POLICY: f"USING ({ALL} OR {seen})"}
    own = OWN.format(ALL, "id" if table.name == TENANTS else "tenant_id")
    if table.name in SEEN_BY_ALL:
        return {POLICY: f"FOR SELECT USING ({own} OR tenant_id IS NULL)", WRITES: f"USING ({own})"}
    return {POLICY: f"USING ({own})"}


def privileges(table: Table) -> frozenset[str]:
    """What the web's role may do with it."""
    if table.is_partition or table.name in CLOSED or not is_known(table):
        return frozenset()
    if table.name in RAISED:
        return frozenset({"SELECT", "UPDATE"})
    if table.name in EMPTIED:
        return frozenset({"SELECT", "DELETE"})
    return EDITED if table.name in WRITTEN else frozenset({"SELECT"})


def gaps(conn: Connection) -> list[str]:
    """Where the wall does not stand for the role that this connection is; [] where it does."""
    found = []
    row = conn.execute(
        "SELECT rolsuper OR rolbypassrls, has_schema_privilege('public', 'CREATE') FROM pg_roles "
        "WHERE rolname = current_user"
    ).fetchone()
    if row and row[0]:
        found.append("the role is a superuser, or has BYPASSRLS")
    if row and row[1]:
        found.append("it may make tables in the schema public")
    unbound = {
        name
        for (name,) in conn.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') "
            "AND CASE WHEN relispartition THEN has_table_privilege(oid, 'SELECT') ELSE NOT row_security_active(oid) END"
        )
    }
    open_to_it = [
        each.name for each in tables(conn) if each.name in unbound and (each.is_partition or is_tenants(each))
    ]
    if open_to_it:
        told = ", ".join(open_to_it[:3]) + (f" and {len(open_to_it) - 3} more" if len(open_to_it) > 3 else "")
        found.append(f"no policy binds it on {told}: it owns them, or `manage.py prepare` was not run")
    return found


def _secure(conn: Connection, table: Table) -> None:
    """Each statement takes the table's lock for a moment, and only where something changes."""
    wanted = policies(table)
    name = sql.Identifier(table.name)
    if wanted and not table.has_security:
        conn.execute(sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(name))
    for policy in (POLICY, WRITES):
        text, there = wanted.get(policy), policy in table.policies
        if text == table.policies.get(policy) and (text is None) != there:
            continue
        if there:
            conn.execute(sql.SQL("DROP POLICY {} ON {}").format(sql.Identifier(policy), name))
        if text is not None:
            conn.execute(sql.SQL("CREATE POLICY {} ON {} {}").format(sql.Identifier(policy), name, sql.SQL(text)))
            note = sql.SQL("COMMENT ON POLICY {} ON {} IS {}")
            conn.execute(note.format(sql.Identifier(policy), name, sql.Literal(text)))


def _grant(conn: Connection, role: str, found: list[Table]) -> None:
    """What the role lacks is given, what it has besides is taken."""
    whom = sql.Identifier(role)
    given: dict[str, set[str]] = {}
    for name, privilege in conn.execute(
        "SELECT c.relname, a.privilege_type FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a "
        "JOIN pg_roles r ON r.oid = a.grantee WHERE c.relnamespace = 'public'::regnamespace AND r.rolname = %s",
        (role,),
    ):
        given.setdefault(name, set()).add(privilege)
    for table in found:
        wanted, has = privileges(table), given.get(table.name, set())
        for words, which in (("GRANT {} ON {} TO {}", wanted - has), ("REVOKE {} ON {} FROM {}", has - wanted)):
            if which:
                listed = sql.SQL(", ").join(sql.SQL(each) for each in sorted(which))
                conn.execute(sql.SQL(words).format(listed, sql.Identifier(table.name), whom))
    conn.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(whom))
