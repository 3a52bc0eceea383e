"""A base URL may name a host without a dot, as those of a container network do. The column stays as it is."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("providers", "0002_config_version")]
    operations = [
        migrations.AlterField("provider", "base_url", models.CharField(max_length=500)),
    ]
