"""Bills without a price are found by themselves: few of a day, of which a window's first hours would else read all.

An index entry for each bill that has none; a bill with a price costs one comparison when it is written.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("spans", "0018_bill_ids_tell_when")]
    operations = [
        migrations.RunSQL(
            "CREATE INDEX bill_unpriced ON bill (tenant_id, begin_at) WHERE cost_nanousd IS NULL",
            "DROP INDEX bill_unpriced",
        )
    ]
