"""A limit raised, or let go, for some windows of a budget: a row for each, so that none has to be taken back.

A row changes what gateways allow, not what is counted: no revision grows.
"""

import django.db.models.deletion
from django.db import migrations, models

from llmobs.tenants.config_version import bump_sql


class Migration(migrations.Migration):
    dependencies = [("budgets", "0006_actions"), ("tenants", "0002_config_version")]
    operations = [
        migrations.CreateModel(
            name="Raise",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("value", models.CharField(blank=True, max_length=400, null=True)),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("amount", models.BigIntegerField(blank=True, null=True)),
                ("actor", models.CharField(max_length=200)),
                ("reason", models.CharField(max_length=500)),
                ("at", models.DateTimeField(auto_now_add=True)),
                (
                    "budget",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="raises", to="budgets.budget"
                    ),
                ),
            ],
            options={"ordering": ("-at",), "verbose_name": "raised limit"},
        ),
        migrations.RunSQL(*bump_sql("budgets_raise")),
    ]
