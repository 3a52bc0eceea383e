"""Alerts that are the operators' own: of a provider, which belongs to no tenant."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("alerts", "0001_initial"), ("tenants", "0001_initial")]

    operations = [
        migrations.RemoveConstraint(model_name="alert", name="alerted_once"),
        migrations.AlterField(
            model_name="alert",
            name="tenant",
            field=models.ForeignKey(
                blank=True,
                help_text="empty: operators'",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                to="tenants.tenant",
            ),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.UniqueConstraint(
                fields=("tenant", "kind", "dedupe"), name="alerted_once", nulls_distinct=False
            ),
        ),
    ]
