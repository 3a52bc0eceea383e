"""Sketches of compacted rows in one value each, which thousands of are read from: a quarter of what their arrays take.

PostgreSQL makes it of the arrays whenever a row is written (`llmobs.rollups.packed` has the form); nobody else
has to know of it. Minutes, of which few are ever read, and deltas, which are read once, are packed as they are read.
"""

from django.db import migrations

TABLES = (
    "rollup_tenant_five", "rollup_feature_quarter", "rollup_error_quarter", "rollup_hour", "rollup_tenant_hour",
    "rollup_model_hour", "rollup_feature_hour", "rollup_error_hour", "rollup_day", "rollup_tenant_day",
    "rollup_model_day", "rollup_feature_day", "rollup_error_day",
)  # fmt: skip
KINDS = ("duration", "ttft")

# A word of four bytes for each bucket: 11 bits say which (from 349 below 0 on), the rest how many; a count that 20 bits
# do not hold has a second word, with the bit before them set, for what is above.
PACKED = """
CREATE FUNCTION rollup_packed(smallint[], bigint[]) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $packed$
    SELECT coalesce(string_agg(
        int4send((((b + 349)::bigint << 21 | (c & 1048575)) - 2147483648)::int)
        || CASE WHEN c >> 20 = 0 THEN ''::bytea
        ELSE int4send((((b + 349)::bigint << 21 | 1048576 | (c >> 20 & 1048575)) - 2147483648)::int) END,
        ''::bytea ORDER BY b), ''::bytea)
    FROM unnest($1, $2) AS u (b, c)
$packed$;
"""


def added(table: str) -> str:
    columns = ", ".join(
        f"ADD COLUMN {kind}_packed bytea GENERATED ALWAYS AS (rollup_packed({kind}_buckets, {kind}_counts)) STORED"
        for kind in KINDS
    )
    return f"ALTER TABLE {table} {columns};"


def dropped(table: str) -> str:
    return f"ALTER TABLE {table} {', '.join(f'DROP COLUMN {kind}_packed' for kind in KINDS)};"


class Migration(migrations.Migration):
    dependencies = [("rollups", "0005_bills")]
    operations = [
        migrations.RunSQL(PACKED, "DROP FUNCTION rollup_packed(smallint[], bigint[])"),
        migrations.RunSQL("".join(map(added, TABLES)), "".join(map(dropped, TABLES))),
    ]
