"""For how many days reported bodies are kept as they came; none unless a tenant says so."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0009_keeping")]
    operations = [
        migrations.AddField(
            "tenant",
            "raw_body_days",
            models.PositiveIntegerField(
                blank=True,
                db_default=0,
                default=0,
                help_text="days that reported bodies are kept as they came, for better adapters to read again; 0: not "
                "at all; only where content is full",
            ),
        ),
    ]
