"""What tells an operator that hosts fit together: marks of their secrets, and how far their clocks are off."""

from django.db import migrations

FORWARD = """
ALTER TABLE heartbeat ADD COLUMN secrets text NOT NULL DEFAULT '', ADD COLUMN skew_ms bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN heartbeat.secrets IS 'marks of the host''s secrets (core/marks.py), said by its writer';
COMMENT ON COLUMN heartbeat.skew_ms IS 'the host''s clock less PostgreSQL''s';
"""
BACK = "ALTER TABLE heartbeat DROP COLUMN secrets, DROP COLUMN skew_ms;"


class Migration(migrations.Migration):
    dependencies = [("ingest", "0006_log_record")]
    operations = [migrations.RunSQL(FORWARD, BACK)]
