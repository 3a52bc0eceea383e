"""Dead letters whose replay was asked for: a worker writes them, since the web may not."""

from django.db import migrations, models

FORWARD = """
ALTER TABLE dead_letter ADD COLUMN asked_at timestamptz, ADD COLUMN asked_by text NOT NULL DEFAULT '';
COMMENT ON COLUMN dead_letter.asked_at IS 'when its replay was asked for; null: nobody asks, or it was tried since';
"""
BACKWARD = "ALTER TABLE dead_letter DROP COLUMN asked_at, DROP COLUMN asked_by"


class Migration(migrations.Migration):
    dependencies = [("keeping", "0004_dead_letter_library")]
    operations = [
        migrations.RunSQL(
            FORWARD,
            BACKWARD,
            state_operations=[
                migrations.AddField("deadletter", "asked_at", models.DateTimeField("replay asked for", null=True)),
                migrations.AddField("deadletter", "asked_by", models.TextField(blank=True), preserve_default=False),
            ],
        )
    ]
