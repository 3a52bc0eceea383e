"""Channels: sealed addresses, signing secrets, and what each of them hears."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("alerts", "0003_states")]

    operations = [
        migrations.AddField(
            model_name="channel",
            name="busy_until",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="channel",
            name="kinds",
            field=models.JSONField(blank=True, default=list, help_text='["budget_threshold", …]; empty: every kind'),
        ),
        migrations.AddField(
            model_name="channel",
            name="previous_secret",
            field=models.TextField(default="", editable=False, help_text="sealed; signs too until it ends"),
        ),
        migrations.AddField(
            model_name="channel",
            name="previous_until",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="channel",
            name="severities",
            field=models.JSONField(blank=True, default=list, help_text='["critical", …]; empty: every severity'),
        ),
        migrations.AddField(
            model_name="channel",
            name="signing_secret",
            field=models.TextField(default="", editable=False, help_text="sealed; of webhooks alone"),
        ),
        migrations.AddField(
            model_name="channel",
            name="target",
            field=models.CharField(
                default="", editable=False, help_text="where it goes, without secrets", max_length=300
            ),
        ),
        migrations.AddField(
            model_name="channel",
            name="tenants",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text='of an operators\' channel: whose alerts it hears too, ["acme"]; ["*"]: all',
            ),
        ),
        migrations.AlterField(
            model_name="channel",
            name="url",
            field=models.TextField(editable=False, help_text="sealed: what it holds may be a secret"),
        ),
    ]
