"""How long each kind of a tenant's data is kept, and what is archived before it goes."""

from django.db import migrations, models

DAYS = (
    ("content_retention_days", "of prompts and answers; empty: as long as spans"),
    ("rollup_retention_days", "of what charts add up; empty: as long as spans"),
    ("bill_retention_days", "empty: for ever"),
)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0008_key_bounds")]
    operations = [
        migrations.AlterField(
            "tenant",
            "retention_days",
            models.PositiveIntegerField(default=400, help_text="days that spans are kept"),
        ),
        *(
            migrations.AddField("tenant", name, models.PositiveIntegerField(blank=True, help_text=told, null=True))
            for name, told in DAYS
        ),
        migrations.AddField(
            "tenant",
            "archive",
            models.CharField(
                choices=[
                    ("off", "off: what is let go is gone"),
                    ("spans", "spans: written to Parquet before they go"),
                    ("full", "full: spans, and prompts and answers too"),
                ],
                db_default="off",
                default="off",
                help_text="what is written to Parquet before it is let go",
                max_length=8,
            ),
        ),
    ]
