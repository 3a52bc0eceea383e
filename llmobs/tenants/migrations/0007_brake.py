"""What becomes of a tenant's sessions that run away, and from which marks on."""

from django.db import migrations, models
from django.db.models import Value

MODES = [
    ("off", "off: not looked for"),
    ("log", "log: recorded and told, nothing is stopped"),
    ("slow", "slow: calls of a loop wait"),
    ("pause", "pause: calls wait, then the session is paused"),
]


class Migration(migrations.Migration):
    dependencies = [("tenants", "0006_confidential_only_local")]
    operations = [
        migrations.AddField(
            "tenant",
            "brake",
            models.CharField(
                max_length=8,
                choices=MODES,
                default="off",
                db_default="off",
                help_text="what becomes of sessions that run away",
            ),
        ),
        migrations.AddField(
            "tenant",
            "brake_marks",
            models.JSONField(
                default=dict,
                db_default=Value({}, models.JSONField()),
                blank=True,
                help_text='Where they differ from the defaults, such as {"alike_calls": 50, "cost_usd": "0.50"}',
            ),
        ),
    ]
