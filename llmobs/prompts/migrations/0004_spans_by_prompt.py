"""A version's results read the spans that name it; spans without a prompt are not in the index."""

from django.db import migrations

INDEX = "CREATE INDEX span_by_prompt ON span (tenant_id, prompt_version, start DESC) WHERE prompt_version <> ''"


class Migration(migrations.Migration):
    dependencies = [("prompts", "0003_immutable_versions"), ("spans", "0001_tables")]
    operations = [migrations.RunSQL(INDEX, "DROP INDEX span_by_prompt")]
