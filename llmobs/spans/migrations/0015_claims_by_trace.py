"""Claims are found by their trace: its calls come together and share an index entry, where each had its own.

No two claims have the ids of one span because one writer at a time decides for a tenant (`ingest.commit.lock_tenants`),
and looks at all claims of the batch's traces first; spans themselves stay unique.
"""

from django.db import migrations

FORWARD = """
ALTER TABLE claim DROP CONSTRAINT claim_pkey;
CREATE INDEX claim_by_trace ON claim (tenant_id, trace_id);
"""

BACKWARD = """
DROP INDEX claim_by_trace;
ALTER TABLE claim ADD PRIMARY KEY (tenant_id, trace_id, span_id);
"""


class Migration(migrations.Migration):
    dependencies = [("spans", "0014_nothing_is_null")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
