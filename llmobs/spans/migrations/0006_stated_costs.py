"""The page of prices compares what providers state with what was billed: an index of the spans that say so alone."""

from django.db import migrations

INDEX = "CREATE INDEX span_stated ON span (tenant_id, start DESC) WHERE stated_cost_nanousd IS NOT NULL AND is_counted"


class Migration(migrations.Migration):
    dependencies = [("spans", "0005_bill_prompt")]
    operations = [migrations.RunSQL(INDEX, "DROP INDEX span_stated")]
