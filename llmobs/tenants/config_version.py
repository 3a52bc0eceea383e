"""One row whose number grows with every change of configuration, whoever makes it: gateways poll it.

Each table of configuration carries a trigger (`bump_on`, in its app's migration), so that the admin, the REST
API, `apply` and plain SQL all reach the gateways.
"""

import psycopg


def bump_sql(table: str) -> tuple[str, str]:
    """SQL that makes any statement on `table` bump the version, and SQL that undoes it (for `RunSQL`)."""
    return (
        f"CREATE TRIGGER {table}_bumps AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION bump_config_version()",
        f"DROP TRIGGER {table}_bumps ON {table}",
    )


def config_version(conn: psycopg.Connection[tuple[object, ...]]) -> int:
    """The version now; a reader that holds it has every change up to it."""
    row = conn.execute("SELECT version FROM config_version").fetchone()
    assert row is not None, "the migrations put one row there"
    return int(str(row[0]))
