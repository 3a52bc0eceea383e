"""Prices of what is not text, of long contexts and of tiers of service; and an end."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("pricing", "0003_price_version")]
    operations = [
        migrations.AddField(
            "price",
            "effective_to",
            models.DateTimeField(blank=True, help_text="empty: until a later price begins", null=True),
        ),
        migrations.AddField(
            "price",
            "units",
            models.JSONField(
                blank=True,
                default=dict,
                help_text='besides text: {"audio_input_usd_per_mtok": "40", …}; see docs/prices.md',
            ),
        ),
        migrations.AddField(
            "price",
            "long_context",
            models.JSONField(
                blank=True, default=list, help_text='[{"above_input_tokens": 200000, "input_usd_per_mtok": "6", …}]'
            ),
        ),
        migrations.AddField(
            "price",
            "tiers",
            models.JSONField(
                blank=True,
                default=dict,
                help_text='{"batch": {"times": "0.5"}, "priority": {"input_usd_per_mtok": "3.5", …}}',
            ),
        ),
    ]
