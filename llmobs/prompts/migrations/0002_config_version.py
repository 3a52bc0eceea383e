"""Changes of these tables reach the gateways (tenants.0002)."""

from django.db import migrations

from llmobs.tenants.config_version import bump_sql


class Migration(migrations.Migration):
    dependencies = [("prompts", "0001_initial"), ("tenants", "0002_config_version")]
    operations = [
        migrations.RunSQL(*bump_sql("prompts_prompt")),
        migrations.RunSQL(*bump_sql("prompts_promptversion")),
        migrations.RunSQL(*bump_sql("prompts_label")),
        migrations.RunSQL(*bump_sql("prompts_experiment")),
    ]
