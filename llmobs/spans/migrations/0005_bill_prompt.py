"""Which prompt a bill's call was made with, so that budgets may be for a prompt. Earlier bills name none."""

from django.db import migrations

FORWARD = """
ALTER TABLE bill ADD COLUMN prompt_version text NOT NULL DEFAULT '';
COMMENT ON COLUMN bill.prompt_version IS 'name@3, as on the span; empty: none';
"""


class Migration(migrations.Migration):
    dependencies = [("spans", "0004_bill_units")]
    operations = [migrations.RunSQL(FORWARD, "ALTER TABLE bill DROP COLUMN prompt_version")]
