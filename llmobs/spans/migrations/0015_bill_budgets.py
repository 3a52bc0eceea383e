"""Budgets that a bill counts towards as a text, "17 23": an array of one is 29 bytes, which all bills had."""

from django.db import migrations

FORWARD = """
ALTER TABLE bill ADD COLUMN budgets text, ALTER COLUMN budget_ids DROP NOT NULL;
COMMENT ON COLUMN bill.budgets IS 'ids of budgets that it counts towards, between blanks; null: none, or in budget_ids';
COMMENT ON COLUMN bill.budget_ids IS 'what budgets says, of bills from before there was that';
"""

BACKWARD = """
UPDATE bill SET budget_ids = COALESCE(string_to_array(budgets, ' ')::bigint[], '{}') WHERE budget_ids IS NULL;
ALTER TABLE bill DROP COLUMN budgets, ALTER COLUMN budget_ids SET NOT NULL;
COMMENT ON COLUMN bill.budget_ids IS NULL;
"""


class Migration(migrations.Migration):
    dependencies = [("spans", "0014_nothing_is_null")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
