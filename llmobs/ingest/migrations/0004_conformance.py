"""What could not be explained in reported spans, by library and day."""

from django.db import migrations

FORWARD = """
CREATE TABLE conformance (
    tenant_id bigint NOT NULL,
    day date NOT NULL,
    scope_name text NOT NULL,
    scope_version text NOT NULL,
    adapter smallint NOT NULL,
    what text NOT NULL,
    count bigint NOT NULL,
    trace_id bytea NOT NULL,
    span_id bytea NOT NULL,
    PRIMARY KEY (tenant_id, day, scope_name, scope_version, adapter, what)
);
COMMENT ON COLUMN conformance.day IS 'UTC, of the spans'' start';
COMMENT ON COLUMN conformance.what IS
    'spans, calls, no_usage, no_model, no_provider, no_response_id, or a remark (ingest.otlp.remarks)';
COMMENT ON COLUMN conformance.span_id IS 'the last span that it was counted of';
"""


class Migration(migrations.Migration):
    dependencies = [("ingest", "0003_heartbeat_canary")]
    operations = [migrations.RunSQL(FORWARD, "DROP TABLE conformance")]
