"""How a provider is spoken to: several credentials, operations and their paths, patience, TLS."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("providers", "0003_any_host")]
    operations = [
        migrations.AddField(
            model_name="provider",
            name="api_version",
            field=models.CharField(
                blank=True, db_default="", default="", help_text="Azure's, sent as ?api-version=", max_length=40
            ),
        ),
        migrations.AddField(
            model_name="provider",
            name="auth",
            field=models.CharField(
                blank=True,
                choices=[
                    ("bearer", "authorization: Bearer …"),
                    ("x-api-key", "x-api-key: …"),
                    ("api-key", "api-key: … (Azure)"),
                    ("none", "not at all"),
                ],
                db_default="",
                default="",
                help_text="how the credential is sent; empty: as the dialect does",
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="provider",
            name="breaker",
            field=models.BooleanField(
                db_default=True, default=True, help_text="stop asking it for a while when it fails"
            ),
        ),
        migrations.AddField(
            model_name="provider",
            name="ca_file",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="certificates that vouch for it, in a file where the gateway runs",
                max_length=500,
            ),
        ),
        migrations.AddField(
            model_name="provider",
            name="connect_seconds",
            field=models.FloatField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="provider",
            name="credentials",
            field=models.JSONField(
                blank=True,
                db_default=models.Value([], models.JSONField()),
                default=list,
                help_text='several, by weight: [{"credential": "env:A", "weight": 2}, …]; sealed like the single one',
            ),
        ),
        migrations.AddField(
            model_name="provider",
            name="first_byte_seconds",
            field=models.FloatField(blank=True, help_text="of a stream", null=True),
        ),
        migrations.AddField(
            model_name="provider",
            name="is_local",
            field=models.BooleanField(db_default=False, default=False, help_text="confidential content may go there"),
        ),
        migrations.AddField(
            model_name="provider",
            name="paths",
            field=models.JSONField(
                blank=True,
                db_default=models.Value({}, models.JSONField()),
                default=dict,
                help_text='by operation: {"chat": "/openai/deployments/{model}/chat/completions"}',
            ),
        ),
        migrations.AddField(
            model_name="provider",
            name="query",
            field=models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
        ),
        migrations.AddField(
            model_name="provider",
            name="retries",
            field=models.PositiveSmallIntegerField(db_default=2, default=2),
        ),
        migrations.AddField(
            model_name="provider",
            name="serves",
            field=models.JSONField(
                blank=True,
                db_default=models.Value([], models.JSONField()),
                default=list,
                help_text='operations that it speaks: ["chat", "embeddings"]; empty: as the dialect does',
            ),
        ),
        migrations.AddField(
            model_name="provider",
            name="verify",
            field=models.BooleanField(db_default=True, default=True, help_text="off: any certificate is taken"),
        ),
        migrations.AddField(
            model_name="provider",
            name="whole_seconds",
            field=models.FloatField(blank=True, help_text="of a whole answer", null=True),
        ),
    ]
