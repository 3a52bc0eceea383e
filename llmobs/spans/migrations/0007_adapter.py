"""Which adapter read a reported span, and in which version: what a better one may find again."""

from django.db import migrations

FORWARD = """
ALTER TABLE span ADD COLUMN adapter smallint;
COMMENT ON COLUMN span.adapter IS 'number * 100 + version (ingest.otlp.adapters); null: of no adapter';
"""


class Migration(migrations.Migration):
    dependencies = [("spans", "0006_stated_costs")]
    operations = [migrations.RunSQL(FORWARD, "ALTER TABLE span DROP COLUMN adapter")]
