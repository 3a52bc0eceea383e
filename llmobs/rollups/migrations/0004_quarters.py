"""Quarters of an hour by feature and by error, and five minutes of a tenant: what a day's charts are read from.

What there is already is added up out of the minutes (of hours: out of the hours), a day at a time, while nothing is
compacted; deltas that wait go into the new tables like any others.
"""

# ruff: noqa: S608 -- names in the statements are constants of this module

from django.db import migrations

DIMENSIONS = {
    "feature": "text", "provider_name": "text", "model": "text", "status": "text", "error_type": "text"
}  # fmt: skip
SUMS = (
    "spans", "calls", "uncached_input_tokens", "cache_read_input_tokens", "cache_write_5m_input_tokens",
    "cache_write_1h_input_tokens", "output_tokens", "reasoning_output_tokens", "cost_nanousd", "estimated_nanousd",
    "estimated_calls", "unpriced_calls", "retried_calls", "retried_attempts", "retried_errors", "cached_calls",
    "saved_nanousd", "streamed_output_tokens", "streaming_ms",
)  # fmt: skip
ERROR = ("provider_name", "model", "status", "error_type")
# table: its time column, a bucket's length, its dimensions, the table and column that it is filled from
TABLES = {
    "rollup_tenant_five": ("five_minutes", "5 minutes", ("status",), "rollup_minute", "minute"),
    "rollup_feature_quarter": ("quarter", "15 minutes", ("feature", "status"), "rollup_minute", "minute"),
    "rollup_error_quarter": ("quarter", "15 minutes", ERROR, "rollup_minute", "minute"),
    "rollup_feature_hour": ("hour", "1 hour", ("feature", "status"), "rollup_hour", "hour"),
    "rollup_error_hour": ("hour", "1 hour", ERROR, "rollup_hour", "hour"),
}


def table(name: str, column: str, dimensions: tuple[str, ...]) -> str:
    columns = [
        "tenant_id bigint NOT NULL",
        f"{column} timestamptz NOT NULL",
        *(f"{dimension} {DIMENSIONS[dimension]} NOT NULL" for dimension in dimensions),
        *(f"{measure} bigint NOT NULL" for measure in SUMS),
        *(f"{kind}_buckets smallint[] NOT NULL, {kind}_counts bigint[] NOT NULL" for kind in ("duration", "ttft")),
        f"PRIMARY KEY (tenant_id, {column}, {', '.join(dimensions)})",
    ]
    return f"CREATE TABLE {name} ({', '.join(columns)});"


def fill(name: str) -> str:
    """A day, from `low` on, out of the finer table."""
    column, length, dimensions, source, finer = TABLES[name]
    keys = ", ".join(["tenant_id", "at", *dimensions])

    def sketch(alias: str, kind: str) -> str:
        return (
            f"{alias} AS (SELECT {keys}, array_agg(b ORDER BY b) AS buckets, array_agg(n ORDER BY b) AS counts FROM ("
            f"SELECT {keys}, b, sum(c)::bigint AS n FROM raw, unnest({kind}_buckets, {kind}_counts) AS u (b, c) "
            f"GROUP BY {keys}, b HAVING sum(c) <> 0) x GROUP BY {keys})"
        )

    arrays = "duration_buckets, duration_counts, ttft_buckets, ttft_counts"
    return (
        f"WITH raw AS MATERIALIZED (SELECT tenant_id, date_bin('{length}', {finer}, timestamptz '2000-01-01 00:00+00') "
        f"AS at, {', '.join([*dimensions, *SUMS])}, {arrays} FROM {source} "
        f"WHERE {finer} >= low AND {finer} < low + interval '1 day'), "
        f"g AS (SELECT {keys}, {', '.join(f'sum({sum_})::bigint AS {sum_}' for sum_ in SUMS)} FROM raw "
        f"GROUP BY {keys}), {sketch('d', 'duration')}, {sketch('t', 'ttft')} "
        f"INSERT INTO {name} (tenant_id, {column}, {', '.join([*dimensions, *SUMS])}, {arrays}) "
        f"SELECT {keys}, {', '.join(SUMS)}, coalesce(d.buckets, '{{}}'), coalesce(d.counts, '{{}}'), "
        f"coalesce(t.buckets, '{{}}'), coalesce(t.counts, '{{}}') "
        f"FROM g LEFT JOIN d USING ({keys}) LEFT JOIN t USING ({keys});"
    )


def filled(source: str, finer: str) -> str:
    tables = [name for name, made in TABLES.items() if made[3] == source]
    return (
        f"FOR low IN SELECT DISTINCT date_trunc('day', {finer}, 'UTC') FROM {source} ORDER BY 1 LOOP "
        f"{' '.join(fill(name) for name in tables)} END LOOP;"
    )


FILL = f"""
SELECT pg_advisory_xact_lock(1819045219);
DO $fill$ DECLARE low timestamptz; BEGIN
{filled("rollup_minute", "minute")}
{filled("rollup_hour", "hour")}
END $fill$;
"""


class Migration(migrations.Migration):
    dependencies = [("rollups", "0003_days")]
    operations = [
        migrations.RunSQL(
            "".join(table(name, made[0], made[2]) for name, made in TABLES.items()),
            "".join(f"DROP TABLE {name};" for name in TABLES),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
