"""Signed snapshots of prices; a new one reaches every process by the configuration's version."""

from django.db import migrations, models

from llmobs.tenants.config_version import bump_sql


class Migration(migrations.Migration):
    dependencies = [("pricing", "0004_units_and_tiers"), ("tenants", "0002_config_version")]
    operations = [
        migrations.CreateModel(
            name="PriceSnapshot",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=60, unique=True)),
                ("effective_from", models.DateTimeField(unique=True)),
                ("body", models.BinaryField(help_text="the signed file, compressed by zstandard")),
                ("signature", models.TextField()),
                ("key_fingerprint", models.CharField(max_length=16)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={"db_table": "price_snapshot", "ordering": ("-effective_from",)},
        ),
        migrations.RunSQL(*bump_sql("price_snapshot")),
    ]
