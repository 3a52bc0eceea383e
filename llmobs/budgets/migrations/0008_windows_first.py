"""A budget's values of one window stand together: pages ask for those, and history does not make them slower.

One value over the days of a rolling window is found as well: each day is asked for by its begin.
"""

from django.db import migrations

KEY = "ALTER TABLE budget_spend DROP CONSTRAINT budget_spend_pkey, ADD PRIMARY KEY (tenant_id, budget_id, revision, {})"


class Migration(migrations.Migration):
    dependencies = [("budgets", "0007_raise")]
    operations = [migrations.RunSQL(KEY.format("window_start, value"), KEY.format("value, window_start"))]
