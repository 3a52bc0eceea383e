"""At its limit a budget may also answer in another way: from a cheaper candidate, from the cache, by its own text."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("budgets", "0005_parent")]
    operations = [
        migrations.AddField(
            "budget",
            "downgrade_to",
            models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="a route or model; empty: the cheapest candidate of the call's own route that fits",
                max_length=200,
            ),
        ),
        migrations.AddField(
            "budget",
            "static_text",
            models.TextField(
                blank=True,
                db_default="",
                default="",
                help_text="the answer that is given once nothing is left",
                max_length=10000,
            ),
        ),
        migrations.AlterField(
            "budget",
            "action",
            models.CharField(
                choices=[
                    ("block", "block"),
                    ("downgrade", "downgrade: a cheaper model"),
                    ("cache_only", "cache only"),
                    ("static", "static text"),
                    ("alert", "alert only"),
                ],
                default="block",
                max_length=12,
            ),
        ),
        migrations.AlterField(
            "budget",
            "window",
            models.CharField(
                default="month",
                help_text="hour, day, week, month, total, or 2d to 92d for so many rolling days",
                max_length=8,
            ),
        ),
    ]
