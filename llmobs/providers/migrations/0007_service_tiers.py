"""Tiers of service that nobody asked for: as an account is set up, and as answers have told."""

import django.db.models.deletion
from django.db import migrations, models

from llmobs.tenants.config_version import bump_sql


class Migration(migrations.Migration):
    dependencies = [("providers", "0006_route_ceiling")]
    operations = [
        migrations.AddField(
            "provider",
            "default_service_tier",
            models.CharField(
                blank=True,
                choices=[
                    ("auto", "auto: the dearest that it may give"),
                    ("batch", "batch"),
                    ("flex", "flex"),
                    ("priority", "priority"),
                    ("fast", "fast"),
                ],
                db_default="",
                default="",
                help_text="of requests that name none, as your account is set up there: what is held goes by it",
                max_length=12,
            ),
        ),
        migrations.CreateModel(
            "Overrun",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("model", models.CharField(max_length=200)),
                (
                    "tier",
                    models.CharField(
                        blank=True, default="", help_text="held for from then on; empty: no tier", max_length=40
                    ),
                ),
                ("held_nanousd", models.BigIntegerField()),
                ("cost_nanousd", models.BigIntegerField(null=True)),
                ("trace_id", models.BinaryField()),
                ("seen_at", models.DateTimeField()),
                ("alerted_at", models.DateTimeField(null=True)),
                (
                    "provider",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="overruns",
                        to="providers.provider",
                    ),
                ),
            ],
            options={
                "ordering": ("-seen_at",),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("provider", "model", "tier"), name="one_overrun_of_a_model_and_tier"
                    )
                ],
            },
        ),
        migrations.RunSQL(*bump_sql("providers_overrun")),
    ]
