"""The response cache's settings: a tenant's default, times by feature and memory; a key may leave it to its tenant."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0002_config_version")]
    operations = [
        migrations.AddField(
            "tenant",
            "cache",
            models.CharField(
                max_length=10,
                default="off",
                db_default="off",
                help_text="off or exact: unless a key or a call says otherwise",
            ),
        ),
        migrations.AddField(
            "tenant",
            "cache_ttl_seconds",
            models.JSONField(
                default=dict,
                db_default=models.Value({}, models.JSONField()),
                blank=True,
                help_text='Seconds by feature, such as {"faq": 172800, "*": 3600}; 0: not at all; unset: 3600',
            ),
        ),
        migrations.AddField(
            "tenant",
            "cache_mb",
            models.PositiveIntegerField(default=64, db_default=64, help_text="Most megabytes of cached answers"),
        ),
        # Keys made before keep their "off": nothing is cached that was not asked for.
        migrations.AlterField(
            "key",
            "cache",
            models.CharField(
                max_length=10,
                default="",
                db_default="",
                blank=True,
                help_text="off or exact; empty: as the tenant says",
            ),
        ),
    ]
