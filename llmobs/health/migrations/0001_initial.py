"""When a provider's model was not healthy."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [("providers", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="ProviderState",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("model", models.CharField(max_length=300)),
                (
                    "state",
                    models.CharField(
                        choices=[("unhealthy", "unhealthy"), ("recovering", "recovering")], max_length=10
                    ),
                ),
                (
                    "share_percent",
                    models.PositiveSmallIntegerField(default=0, help_text="of the calls that may pass"),
                ),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField(blank=True, null=True)),
                ("alerted_at", models.DateTimeField(blank=True, null=True)),
                (
                    "provider",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="states", to="providers.provider"
                    ),
                ),
            ],
            options={
                "db_table": "provider_state",
                "ordering": ("-since",),
                "indexes": [models.Index(fields=["since"], name="provider_state_since")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("until", None)), fields=("provider", "model"), name="one_state_at_a_time"
                    )
                ],
            },
        ),
    ]
