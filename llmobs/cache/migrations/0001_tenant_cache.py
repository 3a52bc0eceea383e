"""The admin's list of caches: tenants under another name, without a table."""

from django.db import migrations


class Migration(migrations.Migration):
    initial = True
    dependencies = [("tenants", "0004_cache")]
    operations = [
        migrations.CreateModel(
            name="TenantCache",
            fields=[],
            options={
                "verbose_name": "response cache",
                "verbose_name_plural": "response caches",
                "ordering": ("slug",),
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("tenants.tenant",),
        ),
    ]
