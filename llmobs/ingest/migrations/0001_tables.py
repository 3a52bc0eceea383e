"""The way in: how far each journal is written, what could not be, who is alive, and the last verify."""

from django.db import migrations

TABLES = """
CREATE TABLE journal_offset (
    owner text PRIMARY KEY,
    host text NOT NULL,
    low_water bigint NOT NULL,
    committed bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN journal_offset.committed IS 'entries before this position are written';
COMMENT ON COLUMN journal_offset.low_water IS 'the oldest Begin that has no End yet, else committed';
CREATE TABLE dead_letter (
    letter_id bigint PRIMARY KEY,
    tenant_id bigint NOT NULL,
    kind text NOT NULL,
    reason text NOT NULL,
    entry bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    replayed_at timestamptz
);
CREATE INDEX dead_letter_by_tenant ON dead_letter (tenant_id, at DESC);
COMMENT ON COLUMN dead_letter.entry IS 'the sealed journal entry';
CREATE TABLE heartbeat (
    owner text PRIMARY KEY,
    kind text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    config_version bigint NOT NULL,
    waiting_spans bigint NOT NULL DEFAULT 0,
    seen_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE verification (
    verification_id bigint PRIMARY KEY,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    differences integer NOT NULL,
    report jsonb NOT NULL
);
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("spans", "0001_tables")]
    operations = [
        migrations.RunSQL(
            TABLES, "DROP TABLE journal_offset; DROP TABLE dead_letter; DROP TABLE heartbeat; DROP TABLE verification"
        )
    ]
