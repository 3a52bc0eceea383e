"""Providers whose stated cost counts; a change reaches every process by the configuration's version."""

from django.db import migrations, models

from llmobs.tenants.config_version import bump_sql


class Migration(migrations.Migration):
    dependencies = [("pricing", "0005_price_snapshot"), ("tenants", "0002_config_version")]
    operations = [
        migrations.CreateModel(
            name="TrustedProvider",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "provider",
                    models.CharField(help_text="its name, as calls have it: openrouter", max_length=100, unique=True),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={"ordering": ("provider",)},
        ),
        migrations.RunSQL(*bump_sql("pricing_trustedprovider")),
    ]
