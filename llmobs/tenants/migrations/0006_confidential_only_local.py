"""A tenant's confidential content goes to local providers alone, whatever the route says."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0005_guards")]
    operations = [
        migrations.AddField(
            "tenant",
            "confidential_only_local",
            models.BooleanField(
                default=False, db_default=False, help_text="confidential content goes to local providers alone"
            ),
        ),
    ]
