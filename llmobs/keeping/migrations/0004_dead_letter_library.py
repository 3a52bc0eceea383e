"""Dead letters say what sent them."""

from django.db import migrations, models

FORWARD = """
ALTER TABLE dead_letter ADD COLUMN library text NOT NULL DEFAULT '';
COMMENT ON COLUMN dead_letter.library IS 'what sent it, with its version; empty: the gateway, or nobody knows';
"""


class Migration(migrations.Migration):
    dependencies = [("keeping", "0003_erasure")]
    operations = [
        migrations.RunSQL(
            FORWARD,
            "ALTER TABLE dead_letter DROP COLUMN library",
            state_operations=[
                migrations.AddField("deadletter", "library", models.TextField(blank=True), preserve_default=False)
            ],
        )
    ]
