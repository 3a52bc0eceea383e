"""Roll-ups: deltas written with each batch, compacted to minutes and hours; users by day."""

from django.db import migrations

DIMENSIONS = """
    service text NOT NULL,
    environment text NOT NULL,
    feature text NOT NULL,
    key_id bigint NOT NULL,
    provider_name text NOT NULL,
    model text NOT NULL,
    status text NOT NULL,
    error_type text NOT NULL,
"""
DIMENSION_NAMES = "service, environment, feature, key_id, provider_name, model, status, error_type"

MEASURES = """
    spans bigint NOT NULL,
    calls bigint NOT NULL,
    uncached_input_tokens bigint NOT NULL,
    cache_read_input_tokens bigint NOT NULL,
    cache_write_5m_input_tokens bigint NOT NULL,
    cache_write_1h_input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    reasoning_output_tokens bigint NOT NULL,
    cost_nanousd bigint NOT NULL,
    estimated_nanousd bigint NOT NULL,
    estimated_calls bigint NOT NULL,
    unpriced_calls bigint NOT NULL,
    duration_buckets smallint[] NOT NULL,
    duration_counts bigint[] NOT NULL,
    ttft_buckets smallint[] NOT NULL,
    ttft_counts bigint[] NOT NULL
"""


def rollup(name: str, bucket: str, dimensions: str, key: str) -> str:
    return (
        f"CREATE TABLE {name} (tenant_id bigint NOT NULL, {bucket} timestamptz NOT NULL, {dimensions} {MEASURES}, "
        f"PRIMARY KEY (tenant_id, {bucket}{', ' + key if key else ''}));"
    )


DELTA = f"""
CREATE TABLE rollup_delta (
    tenant_id bigint NOT NULL,
    delta_id bigint NOT NULL,
    minute timestamptz NOT NULL,
    {DIMENSIONS}
    {MEASURES},
    PRIMARY KEY (tenant_id, delta_id)
);
CREATE INDEX rollup_delta_by_minute ON rollup_delta (tenant_id, minute);
COMMENT ON TABLE rollup_delta IS 'what each batch adds (or takes back); readers add these to the compacted rows';
COMMENT ON COLUMN rollup_delta.duration_buckets IS
    'latency sketch of calls: bucket i holds milliseconds m with ceil(log(m) / log(1.02)) = i; counts beside it';
"""

USER_DAY = """
CREATE TABLE rollup_user_day (
    tenant_id bigint NOT NULL,
    day date NOT NULL,
    user_id text NOT NULL,
    calls bigint NOT NULL,
    errors bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cost_nanousd bigint NOT NULL,
    unpriced_calls bigint NOT NULL,
    PRIMARY KEY (tenant_id, day, user_id)
);
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("spans", "0001_tables")]
    operations = [
        migrations.RunSQL(DELTA, "DROP TABLE rollup_delta"),
        migrations.RunSQL(
            rollup("rollup_minute", "minute", DIMENSIONS, DIMENSION_NAMES)
            + rollup("rollup_hour", "hour", DIMENSIONS, DIMENSION_NAMES),
            "DROP TABLE rollup_minute; DROP TABLE rollup_hour",
        ),
        migrations.RunSQL(
            rollup("rollup_tenant_hour", "hour", "status text NOT NULL,", "status")
            + rollup("rollup_model_hour", "hour", "model text NOT NULL, status text NOT NULL,", "model, status"),
            "DROP TABLE rollup_tenant_hour; DROP TABLE rollup_model_hour",
        ),
        migrations.RunSQL(USER_DAY, "DROP TABLE rollup_user_day"),
    ]
