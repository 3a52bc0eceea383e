"""Content that came as log records, while it waits for its span and for the rest of itself."""

from django.db import migrations

FORWARD = """
CREATE TABLE log_record (
    tenant_id bigint NOT NULL,
    trace_id bytea NOT NULL,
    span_id bytea NOT NULL,
    record_id bytea NOT NULL,
    at_ns bigint NOT NULL,
    place integer NOT NULL,
    received_at timestamptz NOT NULL,
    is_input boolean NOT NULL,
    is_whole boolean NOT NULL,
    is_joined boolean NOT NULL DEFAULT false,
    tries integer NOT NULL DEFAULT 0,
    try_at timestamptz NOT NULL,
    messages text NOT NULL,
    PRIMARY KEY (tenant_id, trace_id, span_id, record_id)
);
CREATE INDEX log_record_due ON log_record (tenant_id, try_at) WHERE NOT is_joined;
CREATE INDEX log_record_by_age ON log_record (tenant_id, received_at);
COMMENT ON TABLE log_record IS 'kept for an hour, after the content policy; what was joined stays for what may follow';
COMMENT ON COLUMN log_record.record_id IS 'the same for the same record, sent again';
"""


class Migration(migrations.Migration):
    dependencies = [("ingest", "0005_raw_bodies")]
    operations = [migrations.RunSQL(FORWARD, "DROP TABLE log_record")]
