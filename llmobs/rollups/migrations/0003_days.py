"""Days of roll-ups, for windows of weeks: made of hours once a day is over, and kept with them from then on."""

from django.db import migrations

DIMENSIONS = {
    "service": "text",
    "environment": "text",
    "feature": "text",
    "key_id": "bigint",
    "provider_name": "text",
    "model": "text",
    "status": "text",
    "error_type": "text",
}
MEASURES = (
    "spans", "calls", "uncached_input_tokens", "cache_read_input_tokens", "cache_write_5m_input_tokens",
    "cache_write_1h_input_tokens", "output_tokens", "reasoning_output_tokens", "cost_nanousd", "estimated_nanousd",
    "estimated_calls", "unpriced_calls", "retried_calls", "retried_attempts", "retried_errors", "cached_calls",
    "saved_nanousd", "streamed_output_tokens", "streaming_ms",
)  # fmt: skip
TABLES = {
    "rollup_day": tuple(DIMENSIONS),
    "rollup_tenant_day": ("status",),
    "rollup_model_day": ("model", "status"),
    "rollup_feature_day": ("feature", "status"),
    "rollup_error_day": ("provider_name", "model", "status", "error_type"),
}


def table(name: str, dimensions: tuple[str, ...]) -> str:
    columns = [
        "tenant_id bigint NOT NULL",
        "day timestamptz NOT NULL",
        *(f"{dimension} {DIMENSIONS[dimension]} NOT NULL" for dimension in dimensions),
        *(f"{measure} bigint NOT NULL" for measure in MEASURES),
        *(f"{kind}_buckets smallint[] NOT NULL, {kind}_counts bigint[] NOT NULL" for kind in ("duration", "ttft")),
        f"PRIMARY KEY (tenant_id, day, {', '.join(dimensions)})",
    ]
    return f"CREATE TABLE {name} ({', '.join(columns)});"


CLOSED = """
CREATE TABLE rollup_closed (only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one), until timestamptz NOT NULL);
COMMENT ON COLUMN rollup_closed.until IS 'days (UTC) before this are in the tables of days, whole; no row: none';
"""


class Migration(migrations.Migration):
    dependencies = [("rollups", "0002_gateway_sums")]
    operations = [
        migrations.RunSQL(
            CLOSED + "".join(table(name, dimensions) for name, dimensions in TABLES.items()),
            "".join(f"DROP TABLE {name};" for name in ("rollup_closed", *TABLES)),
        )
    ]
