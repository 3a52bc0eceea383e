"""What a bill was charged for besides text tokens, and at which tier."""

from django.db import migrations

FORWARD = """
ALTER TABLE bill ADD COLUMN units jsonb, ADD COLUMN tier text NOT NULL DEFAULT '';
COMMENT ON COLUMN bill.units IS
    'counts by unit, null for none; units of sound and pictures are tokens that the token columns include';
COMMENT ON COLUMN bill.tier IS 'batch, priority, flex: priced apart; empty: none';
"""

BACKWARD = "ALTER TABLE bill DROP COLUMN units, DROP COLUMN tier"


class Migration(migrations.Migration):
    dependencies = [("spans", "0003_retried_calls")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
