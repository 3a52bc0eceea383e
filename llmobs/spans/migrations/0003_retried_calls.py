"""Pages ask for the newest calls of several attempts: an index of these alone, empty where nothing is retried."""

from django.db import migrations

INDEX = "CREATE INDEX span_retried ON span (tenant_id, start DESC) WHERE source = 1 AND NOT is_call"


class Migration(migrations.Migration):
    dependencies = [("spans", "0002_claim_lookups")]
    operations = [migrations.RunSQL(INDEX, "DROP INDEX span_retried")]
