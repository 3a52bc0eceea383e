"""Rules: what is watched besides budgets' thresholds."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("alerts", "0004_channels"), ("tenants", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="AlertRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
                (
                    "kind",
                    models.CharField(
                        help_text="of alerts/kinds.py",
                        max_length=40,
                    ),
                ),
                ("filters", models.JSONField(blank=True, default=dict, help_text='{"feature": "chat"}; {}: all calls')),
                (
                    "group_by",
                    models.CharField(blank=True, default="", help_text="user: an alert for each user", max_length=20),
                ),
                (
                    "threshold",
                    models.DecimalField(
                        blank=True,
                        decimal_places=6,
                        help_text="in the kind's unit; empty: the kind's own",
                        max_digits=18,
                        null=True,
                    ),
                ),
                (
                    "window_minutes",
                    models.PositiveIntegerField(blank=True, help_text="empty: the kind's own", null=True),
                ),
                (
                    "minimum_count",
                    models.PositiveIntegerField(blank=True, help_text="calls below which nothing is said", null=True),
                ),
                (
                    "severity",
                    models.CharField(
                        choices=[("info", "info"), ("warning", "warning"), ("critical", "critical")],
                        default="warning",
                        max_length=8,
                    ),
                ),
                (
                    "quiet_minutes",
                    models.PositiveIntegerField(
                        default=5,
                        help_text="it resolves once the condition has not held for so long",
                    ),
                ),
                (
                    "remind_hours",
                    models.PositiveIntegerField(default=24, help_text="tell again while it is open; 0: never"),
                ),
                ("is_enabled", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.AddField(
            model_name="alertrule",
            name="channels",
            field=models.ManyToManyField(
                blank=True, help_text="none: all of the tenant's", related_name="rules", to="alerts.channel"
            ),
        ),
        migrations.AddField(
            model_name="alertrule",
            name="tenant",
            field=models.ForeignKey(
                blank=True,
                help_text="empty: every tenant, each for itself",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                to="tenants.tenant",
            ),
        ),
        migrations.AddField(
            model_name="alert",
            name="rule",
            field=models.ForeignKey(
                blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to="alerts.alertrule"
            ),
        ),
        migrations.AddConstraint(
            model_name="alertrule",
            constraint=models.UniqueConstraint(fields=("tenant", "name"), name="rule_name_once", nulls_distinct=False),
        ),
    ]
