"""When a bill was written is said by its id, which begins with the milliseconds since 1970: 8 bytes less of each.

Days that are there keep the column, which nothing reads, until they go. On the way back all rows are written once.
"""

from django.db import migrations

FORWARD = """
ALTER TABLE bill DROP COLUMN created_at;
COMMENT ON COLUMN bill.bill_id IS 'grows with time; when it was written: to_timestamp((bill_id >> 22) / 1000.0)';
"""
BACKWARD = """
ALTER TABLE bill ADD COLUMN created_at timestamptz;
UPDATE bill SET created_at = to_timestamp((bill_id >> 22) / 1000.0);
ALTER TABLE bill ALTER COLUMN created_at SET NOT NULL, ALTER COLUMN created_at SET DEFAULT now();
COMMENT ON COLUMN bill.bill_id IS NULL;
"""


class Migration(migrations.Migration):
    dependencies = [("spans", "0017_whole_response_ids")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
