"""Erasures: who asked for which tenant's person, what came of it, and the signed proof."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("keeping", "0002_dead_letter_origin"), ("tenants", "0009_keeping")]
    operations = [
        migrations.CreateModel(
            name="Erasure",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sealed", models.TextField(blank=True, editable=False)),
                ("fingerprint", models.CharField(editable=False, max_length=64)),
                ("asked_by", models.CharField(editable=False, max_length=200)),
                ("asked_at", models.DateTimeField(auto_now_add=True)),
                ("finished_at", models.DateTimeField(editable=False, null=True)),
                ("error", models.CharField(blank=True, editable=False, max_length=400)),
                ("found", models.JSONField(default=dict, editable=False)),
                ("proof", models.JSONField(editable=False, null=True)),
                ("signature", models.CharField(blank=True, editable=False, max_length=100)),
                (
                    "tenant",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="tenants.tenant"),
                ),
            ],
            options={"db_table": "erasure", "ordering": ("-id",)},
        ),
    ]
