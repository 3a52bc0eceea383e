"""What guards found: rows of the writer, deleted with the tenant's days."""

from django.db import migrations, models

TABLE = """
CREATE TABLE security_event (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    at timestamptz NOT NULL,
    trace_id bytea NOT NULL,
    span_id bytea NOT NULL,
    kind text NOT NULL,
    place text NOT NULL,
    action text NOT NULL,
    name text NOT NULL,
    score_permille smallint NOT NULL,
    count integer NOT NULL,
    fingerprint text NOT NULL,
    feature text NOT NULL,
    model text NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX security_event_by_at ON security_event (tenant_id, at DESC, id DESC);
CREATE INDEX security_event_by_trace ON security_event (tenant_id, trace_id);
CREATE INDEX security_event_by_fingerprint ON security_event (tenant_id, fingerprint) WHERE fingerprint <> '';
COMMENT ON TABLE security_event IS 'findings of guards, without any text; written with the span that they are of';
COMMENT ON COLUMN security_event.fingerprint IS 'HMAC-SHA-256 under a key of the tenant, its first 32 hex digits';
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("tenants", "0005_guards")]
    operations = [
        migrations.RunSQL(TABLE, "DROP TABLE security_event"),
        migrations.CreateModel(
            name="SecurityEvent",
            fields=[("id", models.BigIntegerField(primary_key=True, serialize=False))],
            options={"db_table": "security_event", "managed": False, "ordering": ("-at", "-id")},
        ),
    ]
