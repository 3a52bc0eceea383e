"""The highest row id that a stretch of a re-pricing wrote: what came meanwhile lies between the stretches' ids."""

from django.db import migrations

FORWARD = """
ALTER TABLE repricing_chunk ADD COLUMN last_id bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN repricing_chunk.last_id IS 'highest row id of its last transaction: from seen to it all are its own';
CREATE INDEX repricing_chunk_by_seen ON repricing_chunk (tenant_id, seen);
"""

BACKWARD = """
DROP INDEX repricing_chunk_by_seen;
ALTER TABLE repricing_chunk DROP COLUMN last_id;
"""


class Migration(migrations.Migration):
    dependencies = [("ingest", "0007_host_marks")]
    operations = [
        migrations.RunSQL(
            FORWARD, "DROP INDEX repricing_chunk_by_seen; ALTER TABLE repricing_chunk DROP COLUMN last_id"
        )
    ]
