"""An alert is open, acknowledged or resolved, and tells channels more than once."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("alerts", "0002_operators_alerts"), ("tenants", "0001_initial")]

    operations = [
        migrations.RemoveConstraint(
            model_name="alert",
            name="alerted_once",
        ),
        migrations.RemoveConstraint(
            model_name="delivery",
            name="delivered_once_each",
        ),
        migrations.AddField(
            model_name="alert",
            name="acknowledged_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="alert",
            name="acknowledged_by",
            field=models.CharField(blank=True, default="", max_length=200),
        ),
        migrations.AddField(
            model_name="alert",
            name="ended_id",
            field=models.BigIntegerField(default=0, help_text="its own id once another of its key may open"),
        ),
        migrations.AddField(
            model_name="alert",
            name="is_once",
            field=models.BooleanField(default=True, help_text="never another one of this key"),
        ),
        migrations.AddField(
            model_name="alert",
            name="last_at",
            field=models.DateTimeField(help_text="when the condition last held", null=True),
        ),
        migrations.AddField(
            model_name="alert",
            name="link",
            field=models.CharField(
                blank=True, default="", help_text="the page that shows what fired it", max_length=1000
            ),
        ),
        migrations.AddField(
            model_name="alert",
            name="messages",
            field=models.PositiveIntegerField(
                default=1, help_text="how often channels were told, the opening included"
            ),
        ),
        migrations.AddField(
            model_name="alert",
            name="resolved_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="alert",
            name="resolved_by",
            field=models.CharField(blank=True, default="", help_text="empty: by itself", max_length=200),
        ),
        migrations.AddField(
            model_name="alert",
            name="severity",
            field=models.CharField(default="warning", max_length=8),
        ),
        migrations.AddField(
            model_name="alert",
            name="told_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="delivery",
            name="created_at",
            field=models.DateTimeField(auto_now_add=True, default=django.utils.timezone.now),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="delivery",
            name="event",
            field=models.CharField(
                choices=[("opened", "opened"), ("reminded", "reminded"), ("resolved", "resolved")],
                default="opened",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="delivery",
            name="number",
            field=models.PositiveIntegerField(default=1, help_text="which of the alert's messages it is"),
        ),
        migrations.AlterField(
            model_name="alert",
            name="state",
            field=models.CharField(
                choices=[("open", "open"), ("acknowledged", "acknowledged"), ("resolved", "resolved")],
                default="open",
                max_length=12,
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(condition=models.Q(("state", "waiting")), fields=["next_at"], name="delivery_waiting"),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.UniqueConstraint(fields=("alert", "channel", "number"), name="delivered_once_each"),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(fields=["tenant", "state", "-at"], name="alert_by_state"),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.UniqueConstraint(
                fields=("tenant", "kind", "dedupe", "ended_id"), name="alerted_once", nulls_distinct=False
            ),
        ),
    ]
