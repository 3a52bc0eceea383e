"""Users of what has no price are found by themselves: few of all users of a month, who would else all be looked at."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("rollups", "0006_packed")]
    operations = [
        migrations.RunSQL(
            "CREATE INDEX rollup_bill_user_unpriced ON rollup_bill_user (tenant_id, since) WHERE cost_nanousd IS NULL",
            "DROP INDEX rollup_bill_user_unpriced",
        )
    ]
