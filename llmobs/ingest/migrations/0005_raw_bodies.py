"""Reported bodies as they came, for as long as their tenant says, so that a better adapter reads them again."""

from django.db import migrations

FORWARD = """
CREATE TABLE raw_body (
    tenant_id bigint NOT NULL,
    body_id bigint NOT NULL,
    received_at timestamptz NOT NULL,
    key_id bigint NOT NULL,
    defaults text[] NOT NULL,
    content_type text NOT NULL,
    users text[] NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (tenant_id, body_id)
);
ALTER TABLE raw_body ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX raw_body_by_time ON raw_body (tenant_id, received_at, body_id);
COMMENT ON COLUMN raw_body.body IS 'zstd';
COMMENT ON COLUMN raw_body.defaults IS 'what its key said then: service, environment, feature';
COMMENT ON COLUMN raw_body.users IS 'whom its spans are of, so that all of one person can be erased';
"""


class Migration(migrations.Migration):
    dependencies = [("ingest", "0004_conformance")]
    operations = [migrations.RunSQL(FORWARD, "DROP TABLE raw_body")]
