"""A route may say how long answers are to requests that set no ceiling."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("providers", "0005_route_strategies")]
    operations = [
        migrations.AddField(
            "route",
            "most_output_tokens",
            models.PositiveIntegerField(
                blank=True,
                help_text="ceiling of answers to requests that set none; empty: the model's own",
                null=True,
            ),
        ),
    ]
