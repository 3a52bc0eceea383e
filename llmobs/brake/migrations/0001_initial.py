"""Sessions that the brake acted upon; a pause and its end reach the gateways as a change of configuration does."""

import django.db.models.deletion
from django.db import migrations, models

# Only what gateways must know bumps the version: they read all of their configuration anew.
BUMP = """
CREATE TRIGGER braked_session_bumps AFTER INSERT OR UPDATE OF state, until ON braked_session
FOR EACH ROW WHEN (NEW.state IN ('paused', 'released')) EXECUTE FUNCTION bump_config_version();
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("tenants", "0007_brake")]
    operations = [
        migrations.CreateModel(
            name="BrakedSession",
            fields=[
                ("id", models.CharField(max_length=16, primary_key=True, serialize=False)),
                ("mark", models.CharField(max_length=32)),
                ("kind", models.CharField(help_text="session, user or key", max_length=8)),
                ("key_id", models.BigIntegerField()),
                ("user_id", models.TextField(blank=True)),
                ("session_id", models.TextField(blank=True)),
                ("feature", models.TextField(blank=True)),
                ("model", models.TextField(blank=True)),
                ("trace_id", models.CharField(blank=True, max_length=32)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("noted", "noted: nothing was stopped"),
                            ("slowed", "slowed: its calls wait"),
                            ("paused", "paused: its calls are refused"),
                            ("released", "released by a person"),
                        ],
                        max_length=8,
                    ),
                ),
                ("begun_at", models.DateTimeField()),
                ("changed_at", models.DateTimeField()),
                ("until", models.DateTimeField(blank=True, help_text="when a pause ends by itself", null=True)),
                ("told", models.TextField(blank=True, help_text="the evidence in words")),
                ("evidence", models.JSONField(blank=True, default=dict)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("ended_by", models.CharField(blank=True, default="", max_length=200)),
                ("alerted_at", models.DateTimeField(blank=True, null=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="braked_sessions",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "braked_session",
                "ordering": ("-changed_at", "-id"),
                "indexes": [
                    models.Index(fields=["tenant", "-changed_at"], name="braked_session_by_change"),
                    models.Index(fields=["tenant", "mark"], name="braked_session_by_mark"),
                    models.Index(
                        condition=models.Q(("alerted_at", None)),
                        fields=["changed_at"],
                        name="braked_session_untold",
                    ),
                ],
            },
        ),
        migrations.RunSQL(BUMP, "DROP TRIGGER braked_session_bumps ON braked_session"),
    ]
